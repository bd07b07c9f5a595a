//! Measurements that need several processes run this program again, with a hidden first argument.
//!
//! A child says `ready` when it is set up, waits for a line, does its part, and prints what it found as `name number`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use crate::measure::Outcome;
use crate::targets::{extra, languages, memory, processes, wake_up};

/// The hidden first argument.
pub(crate) const MARK: &str = "--child";

/// Does the part of a child.
pub(crate) fn run(words: &[String]) -> Outcome<()> {
    let (role, words) = words.split_first().ok_or("a child needs a role")?;
    match role.as_str() {
        "work" => processes::child(words),
        "wake-receiver" => wake_up::receiver(words),
        "wake-sender" => wake_up::sender(words),
        "drain" => memory::child(words),
        "idle" => extra::idle_child(words),
        "calls" => languages::calls(words),
        other => Err(format!("unknown role {other:?}").into()),
    }
}

/// In a child: says that it is set up, and waits until the parent says go.
pub(crate) fn ready() -> Outcome<()> {
    println!("ready");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line == "go\n" { Ok(()) } else { Err("the parent is gone".into()) }
}

/// In a child: the word at this place.
pub(crate) fn word(words: &[String], index: usize) -> Outcome<&str> {
    Ok(words.get(index).ok_or_else(|| format!("argument {index} is missing"))?)
}

/// In a child: the number at this place.
pub(crate) fn number(words: &[String], index: usize) -> Outcome<u64> {
    let word = word(words, index)?;
    word.parse().map_err(|_| format!("argument {index} is {word:?}, not a number").into())
}

/// A running child, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    /// None once there is nothing more to say.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a child and waits until it is ready.
    pub(crate) fn start(role: &str, words: &[String]) -> Outcome<Self> {
        Child::spawn(Command::new(std::env::current_exe()?).args([MARK, role]).args(words))
    }

    /// Starts a program that speaks as a child does, and waits until it is ready.
    pub(crate) fn spawn(program: &mut Command) -> Outcome<Self> {
        let what = format!("{program:?}");
        let spawned = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.map_err(|error| format!("{what} does not start: {error}"))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().ok_or("no pipe from the child")?);
        let mut child = Child { process, input, output };
        let mut line = String::new();
        child.output.read_line(&mut line)?;
        if line == "ready\n" { Ok(child) } else { Err(format!("{what} did not get ready").into()) }
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("no pipe to the child")?;
        input.write_all(b"go\n")?;
        Ok(input.flush()?)
    }

    /// Lets a program of another language do one run, and gives the figure that it measured.
    pub(crate) fn ask(&mut self) -> Outcome<f64> {
        self.go()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().map_err(|_| format!("a child said {line:?}, which is no figure").into())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end and gives what it found.
    pub(crate) fn finish(mut self) -> Outcome<Findings> {
        let mut text = String::new();
        // The end of its input tells a program that does several runs that there are no more.
        drop(self.input.take());
        self.output.read_to_string(&mut text)?;
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("a child ended with {status}").into());
        }
        let mut findings = BTreeMap::new();
        for line in text.lines() {
            let (name, number) = line.split_once(' ').ok_or_else(|| format!("a child said {line:?}"))?;
            findings.insert(name.to_owned(), number.parse()?);
        }
        Ok(Findings(findings))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The numbers that a child found.
#[derive(Debug)]
pub(crate) struct Findings(BTreeMap<String, u64>);

impl Findings {
    pub(crate) fn get(&self, name: &str) -> Outcome<u64> {
        self.0.get(name).copied().ok_or_else(|| format!("a child did not say {name:?}").into())
    }
}
