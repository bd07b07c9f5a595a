//! The other languages beside Rust: the same calls on files of their own, with the same durability. Each is a program that
//! is started once and does one run at a time, in turn with ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use onceward::{Delivery, Message, Queue, Receipt, ReceiveOptions, Semantics, Store};

use crate::args::Plan;
use crate::children::Child;
use crate::load::{self, Tally};
use crate::measure::{Outcome, Pairs, alternate, alternate_sides, per_second, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const BATCH: usize = 100;
/// Messages in a run.
const COUNT: usize = 20_000;
const SEND_TARGET: Bound = Bound::AtLeast(0.6);
const RECEIVE_TARGET: Bound = Bound::AtLeast(0.5);

/// The most that a call may take longer from C, in nanoseconds.
const C_TARGET: Bound = Bound::AtMost(200.0);
/// Calls in one turn of a run, and turns in a run: short ones, so that what disturbs the machine hits few of them.
const TURN: usize = 200;
const TURNS: usize = 100;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What a language needs must be built before: a comparison that leaves one out would compare nothing.
fn needed(path: PathBuf, how: &str) -> Outcome<PathBuf> {
    verify(path.exists(), || format!("{} is not there: {how}", path.display()))?;
    Ok(path)
}

fn python() -> Outcome<Command> {
    let mut command = Command::new(needed(tree("build/venv/bin/python"), "make build")?);
    command.arg(tree("bench/languages/bench.py"));
    Ok(command)
}

fn node() -> Outcome<Command> {
    needed(tree("bindings-node/onceward.node"), "make test-node, or node bindings-node/scripts/build.mjs")?;
    let mut command = Command::new("node");
    command.arg(tree("bench/languages/bench.mjs"));
    Ok(command)
}

/// Python and Node: messages in batches.
pub(crate) fn batches(plan: &Plan, report: &mut Report) -> Outcome<()> {
    for (language, program) in [("Python", python as fn() -> Outcome<Command>), ("Node", node)] {
        let pairs = send_pairs(plan, program()?)?;
        report.add(rates(format!("{language}: send x{BATCH} beside Rust, synced"), &pairs, SEND_TARGET));
        let pairs = receive_pairs(plan, program()?)?;
        report.add(rates(format!("{language}: receive+ack x{BATCH} beside Rust, not synced"), &pairs, RECEIVE_TARGET));
    }
    Ok(())
}

fn rates(what: String, pairs: &Pairs, bound: Bound) -> Row {
    Row::new(what, Unit::Ratio, pairs.ratios(), bound).sides(Unit::PerSecond, &pairs.ours, &pairs.other)
}

fn start(mut program: Command, call: &str, file: &Path, count: usize) -> Outcome<Child> {
    program.arg(call).arg(file).args([count.to_string(), BATCH.to_string()]);
    Child::spawn(&mut program)
}

/// What a program says that it handled is what it should have handled.
fn finish(child: Child, total: usize) -> Outcome<()> {
    let found = child.finish()?;
    Tally { count: found.get("count")?, sum: found.get("sum")? }.verify(Tally::of(0, total as u64))
}

fn send_pairs(plan: &Plan, program: Command) -> Outcome<Pairs> {
    let count = plan.size(COUNT, BATCH * 2);
    let total = count * (plan.runs + 1);
    let rust = Ours::open(&plan.file("rust"), Semantics::AtLeastOnce)?;
    let theirs = Ours::open(&plan.file("theirs"), Semantics::AtLeastOnce)?;
    let mut child = start(program, "send", &plan.file("theirs"), count)?;
    let pairs = alternate(
        plan.runs,
        || child.ask(),
        || {
            let bodies = load::batches(0, count, BATCH);
            let start = Instant::now();
            for bodies in bodies {
                rust.send(rust.messages(bodies, 0))?;
            }
            Ok(per_second(count, start.elapsed()))
        },
    )?;
    finish(child, total)?;
    for ours in [rust, theirs] {
        ours.verify_ready(total)?;
        ours.store.close()?;
    }
    plan.clear()?;
    Ok(pairs)
}

fn receive_pairs(plan: &Plan, program: Command) -> Outcome<Pairs> {
    let count = plan.size(COUNT, BATCH * 2);
    let total = count * (plan.runs + 1);
    let rust = Ours::filled(&plan.file("rust"), Semantics::AtLeastOnce, total)?;
    let theirs = Ours::filled(&plan.file("theirs"), Semantics::AtLeastOnce, total)?;
    theirs.store.close()?;
    let mut child = start(program, "receive", &plan.file("theirs"), count)?;
    let mut received = Tally::default();
    let pairs = alternate(
        plan.runs,
        || child.ask(),
        || {
            let mut bodies = Vec::with_capacity(count);
            let start = Instant::now();
            while bodies.len() < count {
                let deliveries = rust.queue.receive_many(&ReceiveOptions::new().max(BATCH))?;
                let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
                bodies.extend(deliveries.into_iter().map(|mut delivery| delivery.take_body()));
                rust.ack(&receipts)?;
            }
            let rate = per_second(count, start.elapsed());
            bodies.iter().try_for_each(|body| received.add(body))?;
            Ok(rate)
        },
    )?;
    finish(child, total)?;
    received.verify(Tally::of(0, total as u64))?;
    rust.verify_ready(0)?;
    rust.store.close()?;
    let theirs = Ours::open(&plan.file("theirs"), Semantics::AtLeastOnce)?;
    theirs.verify_ready(0)?;
    theirs.store.close()?;
    plan.clear()?;
    Ok(pairs)
}

/// C: what a call takes beyond the same call from Rust.
pub(crate) fn c_calls(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let program = c_program(plan)?;
    let (count, turns) = (plan.size(TURN, 10), plan.size(TURNS, 2));
    for (call, what, calls) in [
        ("send", "C: a send in memory over the same in Rust", 1.0),
        ("receive", "C: receive, read, ack, free in memory over Rust, per call", 4.0),
        ("ask", "C: the smallest call over the same in Rust", 1.0),
    ] {
        let mut child = Child::spawn(Command::new(&program).args([call, &count.to_string()]))?;
        let rust = Rust::new(call)?;
        let mut medians = Pairs::default();
        for run in 0..=plan.runs {
            let pairs = alternate_sides(turns, || Ok(child.ask()? / calls), || Ok(rust.run(count)? / calls))?;
            if run > 0 {
                medians.push_medians(&pairs);
            }
        }
        let made = child.finish()?.get("count")?;
        verify(made == (count * turns * (plan.runs + 1)) as u64, || format!("C made {made} calls"))?;
        report.add(Row::new(what, Unit::Nanos, medians.differences(), C_TARGET).sides(
            Unit::Nanos,
            &medians.ours,
            &medians.other,
        ));
    }
    plan.clear()
}

/// Compiles the C side against the library that stands beside this program.
fn c_program(plan: &Plan) -> Outcome<PathBuf> {
    let folder = std::env::current_exe()?.with_file_name("libonceward_c.so");
    let library = needed(folder, "build it with the same profile: cargo build [--release] -p onceward-c")?;
    std::os::unix::fs::symlink(library, plan.file("libonceward.so.0"))?;
    let (program, here) = (plan.file("bench-c"), plan.dir.display());
    let done = Command::new("cc")
        .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"])
        .arg(&program)
        .arg(tree("bench/languages/bench.c"))
        .arg(format!("-I{}", tree("include").display()))
        .args([format!("-L{here}"), "-l:libonceward.so.0".to_owned(), format!("-Wl,-rpath,{here}")])
        .status()?;
    verify(done.success(), || "the C program does not compile".to_owned())?;
    Ok(program)
}

/// What the C program does, in Rust.
struct Rust {
    store: Store,
    queue: Queue,
    asked: Option<Delivery>,
    call: String,
}

impl Rust {
    fn new(call: &str) -> Outcome<Self> {
        let store = Store::open(onceward::IN_MEMORY)?;
        let queue = store.queue("bench", Semantics::AtLeastOnce)?;
        let mut rust = Rust { store, queue, asked: None, call: call.to_owned() };
        if call == "ask" {
            rust.send(1)?;
            rust.asked = rust.queue.receive(Duration::ZERO)?;
        }
        Ok(rust)
    }

    /// Nanoseconds of a call, the mean of `count`.
    fn run(&self, count: usize) -> Outcome<f64> {
        let spent = match self.call.as_str() {
            "send" => {
                let spent = self.send(count)?;
                self.receive(count)?;
                spent
            }
            "receive" => {
                self.send(count)?;
                self.receive(count)?
            }
            _ => self.ask(count)?,
        };
        Ok(spent.as_nanos() as f64 / count as f64)
    }

    fn send(&self, count: usize) -> Outcome<Duration> {
        let bodies = vec![vec![0; load::BODY_BYTES]; count];
        let start = Instant::now();
        for body in bodies {
            self.queue.send(Message::new(body))?;
        }
        Ok(start.elapsed())
    }

    fn receive(&self, count: usize) -> Outcome<Duration> {
        let start = Instant::now();
        for _ in 0..count {
            let delivery = self.queue.receive(Duration::ZERO)?.ok_or("nothing came")?;
            verify(delivery.body().len() == load::BODY_BYTES, || "another body came".to_owned())?;
            delivery.ack()?;
        }
        Ok(start.elapsed())
    }

    fn ask(&self, count: usize) -> Outcome<Duration> {
        let delivery = self.asked.as_ref().ok_or("nothing is asked")?;
        let start = Instant::now();
        let settled = (0..count).filter(|_| std::hint::black_box(delivery).is_settled()).count();
        let spent = start.elapsed();
        verify(settled == 0, || "it was settled".to_owned())?;
        Ok(spent)
    }
}

impl Drop for Rust {
    fn drop(&mut self) {
        let _ = self.store.close();
    }
}
