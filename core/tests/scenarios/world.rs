//! What the steps of a scenario have made so far, and the steps about files and processes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use onceward::{
    Consumer, Delivery, Error, ErrorKind, Ledger, MessageId, Queue, Receipt, Store, Subscription, Transaction,
};

use crate::process::Helper;
use crate::step::{Outcome, Step, Trouble, bytes, duration, mistake};
use crate::{effects, managing, receiving, sending, show, storing};

/// A call has a second form in Rust: awaited, or begun and ended by hand. Every scenario is run with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Other,
}

/// Messages by the names that the scenario gave them.
#[derive(Default)]
pub(crate) struct Names {
    ids: HashMap<String, MessageId>,
    names: HashMap<MessageId, String>,
}

impl Names {
    pub(crate) fn give(&mut self, name: Option<String>, id: MessageId) {
        if let Some(name) = name {
            self.names.entry(id).or_insert_with(|| name.clone());
            self.ids.insert(name, id);
        }
    }

    /// The first name that a message was given.
    pub(crate) fn of(&self, id: MessageId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| "?".to_owned())
    }

    pub(crate) fn id(&self, name: &str) -> Outcome<MessageId> {
        self.ids.get(name).copied().map_or_else(|| mistake(format!("no message is named {name}")), Ok)
    }
}

/// What messages are received from.
#[derive(Clone)]
pub(crate) enum Receiver {
    Queue(Queue),
    Subscription(Subscription),
}

pub(crate) struct World {
    pub(crate) form: Form,
    pub(crate) folder: PathBuf,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) stores: HashMap<String, Store>,
    pub(crate) receivers: HashMap<String, Receiver>,
    pub(crate) deliveries: HashMap<String, Delivery>,
    pub(crate) receipts: HashMap<String, Receipt>,
    pub(crate) transactions: HashMap<String, Transaction>,
    pub(crate) consumers: HashMap<String, Consumer>,
    pub(crate) ledgers: HashMap<String, Ledger>,
    pub(crate) doubts: HashMap<String, u64>,
    pub(crate) keys: Vec<String>,
    pub(crate) names: Names,
    /// Calls and probes since they were last asked for.
    pub(crate) calls: (usize, usize),
    processes: BTreeMap<String, Helper>,
}

/// What was made under a name.
pub(crate) fn named<'a, T>(made: &'a mut HashMap<String, T>, name: &str) -> Outcome<&'a mut T> {
    made.get_mut(name).map_or_else(|| mistake(format!("nothing is named {name}")), Ok)
}

impl World {
    pub(crate) fn new(folder: &Path, form: Form) -> Self {
        World {
            form,
            folder: folder.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
            stores: HashMap::new(),
            receivers: HashMap::new(),
            deliveries: HashMap::new(),
            receipts: HashMap::new(),
            transactions: HashMap::new(),
            consumers: HashMap::new(),
            ledgers: HashMap::new(),
            doubts: HashMap::new(),
            keys: Vec::new(),
            names: Names::default(),
            calls: (0, 0),
            processes: BTreeMap::new(),
        }
    }

    /// Takes a step, and answers in one line.
    pub(crate) fn answer(&mut self, line: &str) -> String {
        let answer = match self.take(line) {
            Ok(answer) => answer,
            Err(Trouble::Refused(error)) => refused(&error),
            Err(Trouble::Mistake(what)) => format!("mistake: {what}"),
        };
        answer.replace('\n', " ")
    }

    fn take(&mut self, line: &str) -> Outcome {
        if let Some((process, step)) = line.split_once(": ")
            && self.processes.contains_key(process)
        {
            self.process(process)?.tell(step);
            return self.hear(process);
        }
        if let Some((process, step)) = line.strip_prefix("tell ").and_then(|rest| rest.split_once(": ")) {
            self.process(process)?.tell(step);
            return Ok("ok".to_owned());
        }
        let mut step = Step::parse(line);
        let answer = self.one(&mut step)?;
        step.finish()?;
        Ok(answer)
    }

    fn one(&mut self, step: &mut Step) -> Outcome {
        match step.verb.clone().as_str() {
            "process" => {
                let name = step.word()?;
                let role = format!("{:?}", self.form);
                self.processes.insert(name, Helper::start(&role, &self.folder));
                Ok("ok".to_owned())
            }
            "hear" => {
                let name = step.word()?;
                self.hear(&name)
            }
            "kill" => {
                let name = step.word()?;
                self.processes.remove(&name).map_or_else(
                    || mistake("no such process"),
                    |process| {
                        process.kill();
                        Ok("ok".to_owned())
                    },
                )
            }
            verb @ ("stop" | "continue") => {
                let signal = if verb == "stop" { "STOP" } else { "CONT" };
                let name = step.word()?;
                self.process(&name)?.signal(signal);
                Ok("ok".to_owned())
            }
            "wait" => {
                std::thread::sleep(duration(&step.word()?)?);
                Ok("ok".to_owned())
            }
            "write" | "patch" | "remove" | "move" | "mkdir" => self.file(step),
            verb => {
                let verb = verb.to_owned();
                storing::take(self, &verb, step)
                    .or_else(|| sending::take(self, &verb, step))
                    .or_else(|| receiving::take(self, &verb, step))
                    .or_else(|| managing::take(self, &verb, step))
                    .or_else(|| effects::take(self, &verb, step))
                    .unwrap_or_else(|| mistake(format!("there is no verb {verb}")))
            }
        }
    }

    fn process(&mut self, name: &str) -> Outcome<&mut Helper> {
        self.processes.get_mut(name).map_or_else(|| mistake(format!("no process is named {name}")), Ok)
    }

    fn hear(&mut self, name: &str) -> Outcome {
        self.process(name)?.hear().map_or_else(|| mistake(format!("{name} has ended")), Ok)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name == onceward::IN_MEMORY { PathBuf::from(name) } else { self.folder.join(name) }
    }

    /// Only files that no SQLite of this process has open are written.
    fn file(&mut self, step: &mut Step) -> Outcome {
        use std::io::{Seek, SeekFrom, Write};
        let path = self.path(&step.word()?);
        let done = match step.verb.as_str() {
            "write" => std::fs::write(&path, bytes(&step.word()?)),
            "remove" => std::fs::remove_file(&path),
            "move" => std::fs::rename(&path, self.path(&step.word()?)),
            "mkdir" => std::fs::create_dir(&path),
            _ => {
                let at = step.number("at")?.unwrap_or(0);
                let content = bytes(&step.word()?);
                std::fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| {
                    file.seek(SeekFrom::Start(at))?;
                    file.write_all(&content)
                })
            }
        };
        done.map_or_else(|error| mistake(format!("{}: {error}", path.display())), |()| Ok("ok".to_owned()))
    }

    pub(crate) fn store(&mut self, step: &mut Step) -> Outcome<&mut Store> {
        let name = step.option("in").unwrap_or_else(|| "store".to_owned());
        named(&mut self.stores, &name)
    }

    pub(crate) fn queue(&mut self, name: &str) -> Outcome<Queue> {
        match named(&mut self.receivers, name)? {
            Receiver::Queue(queue) => Ok(queue.clone()),
            Receiver::Subscription(_) => mistake(format!("{name} is no queue")),
        }
    }

    pub(crate) fn receiver(&mut self, step: &mut Step) -> Outcome<Receiver> {
        let name = step.word()?;
        named(&mut self.receivers, &name).cloned()
    }

    pub(crate) fn ids(&self, words: &[String]) -> Outcome<Vec<MessageId>> {
        words.iter().map(|name| self.names.id(name)).collect()
    }

    pub(crate) fn receipts_of(&self, words: &[String]) -> Outcome<Vec<Receipt>> {
        let one = |name: &String| match (self.deliveries.get(name), self.receipts.get(name)) {
            (Some(delivery), _) => Ok(api!(Delivery::receipt(delivery))),
            (None, Some(receipt)) => Ok(*receipt),
            (None, None) => mistake(format!("no delivery is named {name}")),
        };
        words.iter().map(one).collect()
    }

    /// Which of these deliveries were lost, by their names.
    pub(crate) fn lost(&self, words: &[String], lost: &[Receipt]) -> Outcome {
        let receipts = self.receipts_of(words)?;
        let name = |receipt: &Receipt| receipts.iter().position(|one| one == receipt).map(|at| words[at].clone());
        let names: Vec<String> = lost.iter().map(|receipt| name(receipt).unwrap_or_else(|| "?".to_owned())).collect();
        Ok(if names.is_empty() { "ok".to_owned() } else { format!("lost {}", show::list(&names)) })
    }
}

fn refused(error: &Error) -> String {
    let kind = api!(Error::kind(error));
    assert_eq!(ErrorKind::ALL[api!(ErrorKind::code(kind)) as usize - 1], kind);
    format!("error {} {}", api!(ErrorKind::name(kind)), api!(Error::message(error)))
}
