//! The other languages beside Rust: the same calls on files of their own, with the same durability. Each is a program that
//! is started once and does one run at a time, in turn with ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use onceward::{ConsumeOptions, Delivery, Message, Queue, Receipt, ReceiveOptions, Semantics, Store, Subscription};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::args::Plan;
use crate::children::{self, Child};
use crate::load::{self, Tally};
use crate::measure::{Outcome, Pairs, alternate, alternate_sides, per_second, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const BATCH: usize = 100;
/// Messages in a run.
const COUNT: usize = 40_000;
/// Loops at once, where there are several; the other side has as many.
const LOOPS: usize = 6;
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

/// A way to receive: the word for it, how it is called, and what it should reach.
type Way = (&'static str, &'static str, Bound);

/// Python and Node: messages in batches. A call from Node is a promise, and waits for a thread on its way there and on its way
/// back: a program that cares for its rate has several on their way. So does Rust then, from as many threads.
pub(crate) fn batches(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let python_ways: [Way; 2] = [("receive", "receive+ack", RECEIVE_TARGET), ("consume", "consume()", Bound::None)];
    let node_ways: [Way; 3] = [
        ("loops", "six loops at once, receive+ack", RECEIVE_TARGET),
        ("receive", "one loop, receive+ack", RECEIVE_TARGET),
        ("consume", "consume()", Bound::None),
    ];
    language(plan, report, "Python", python, &python_ways)?;
    language(plan, report, "Node", node, &node_ways)
}

fn language(
    plan: &Plan,
    report: &mut Report,
    name: &str,
    program: fn() -> Outcome<Command>,
    ways: &[Way],
) -> Outcome<()> {
    let pairs = send_pairs(plan, program()?)?;
    report.add(rates(format!("{name}: send x{BATCH} beside Rust, synced"), &pairs, SEND_TARGET));
    for (call, what, bound) in ways {
        let pairs = receive_pairs(plan, program()?, call)?;
        report.add(rates(format!("{name}: {what} x{BATCH} beside Rust, not synced"), &pairs, *bound));
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

fn receive_pairs(plan: &Plan, program: Command, call: &str) -> Outcome<Pairs> {
    let count = plan.size(COUNT, BATCH * 2);
    let total = count * (plan.runs + 1);
    let rust = Ours::filled(&plan.file("rust"), Semantics::AtLeastOnce, total)?;
    let theirs = Ours::filled(&plan.file("theirs"), Semantics::AtLeastOnce, total)?;
    theirs.store.close()?;
    let mut child = start(program, call, &plan.file("theirs"), count)?;
    let mut received = Tally::default();
    let pairs = alternate(
        plan.runs,
        || child.ask(),
        || {
            let mut bodies = Vec::with_capacity(count);
            let start = Instant::now();
            match call {
                "consume" => consume(&rust, &mut bodies, count)?,
                "loops" => loops(&rust, &mut bodies, count)?,
                _ => receive(&rust, &mut bodies, count)?,
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

fn receive(ours: &Ours, bodies: &mut Vec<Vec<u8>>, count: usize) -> Outcome<()> {
    while bodies.len() < count {
        let deliveries = ours.queue.receive_many(&ReceiveOptions::new().max(BATCH))?;
        let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
        bodies.extend(deliveries.into_iter().map(|mut delivery| delivery.take_body()));
        ours.ack(&receipts)?;
    }
    Ok(())
}

fn loops(ours: &Ours, bodies: &mut Vec<Vec<u8>>, count: usize) -> Outcome<()> {
    let begun = AtomicUsize::new(0);
    let a_loop = || {
        let mut bodies = Vec::with_capacity(count);
        while begun.fetch_add(BATCH, Ordering::Relaxed) < count {
            let more = bodies.len() + BATCH;
            receive(ours, &mut bodies, more)?;
        }
        Ok(bodies)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..LOOPS).map(|_| scope.spawn(a_loop)).collect();
        for thread in threads {
            let found: Outcome<Vec<Vec<u8>>> = thread.join().map_err(|_| "a thread panicked")?;
            bodies.extend(found?);
        }
        Ok(())
    })
}

fn consume(ours: &Ours, bodies: &mut Vec<Vec<u8>>, count: usize) -> Outcome<()> {
    let mut consumer = ours.queue.consume(ConsumeOptions::new().batch(BATCH))?;
    for delivery in consumer.by_ref().take(count) {
        let mut delivery = delivery?;
        bodies.push(delivery.take_body());
        delivery.ack()?;
    }
    Ok(consumer.close()?)
}

/// C: what a call takes beyond the same call from Rust.
pub(crate) fn c_calls(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let program = c_program(plan)?;
    // They take turns, and no core is as fast as the other: both have the same one. Children inherit it.
    let everywhere = sched_getaffinity(None)?;
    let mut here = CpuSet::new();
    here.set((0..CpuSet::MAX_CPU).find(|cpu| everywhere.is_set(*cpu)).ok_or("this process may run nowhere")?);
    sched_setaffinity(None, &here)?;
    let done = c_rows(plan, report, &program);
    sched_setaffinity(None, &everywhere)?;
    done?;
    plan.clear()
}

fn c_rows(plan: &Plan, report: &mut Report, program: &Path) -> Outcome<()> {
    let (count, turns) = (plan.size(TURN, 10), plan.size(TURNS, 2));
    for (call, what, calls) in [
        ("send", "C: a send in memory over the same in Rust", 1.0),
        ("receive", "C: receive, read, ack, free in memory over Rust, per call", 4.0),
        ("ask", "C: the smallest call over the same in Rust", 1.0),
    ] {
        let mut medians = Pairs::default();
        for run in 0..=plan.runs {
            // Where a process happens to lie in memory is worth more than what is measured: each run has new ones.
            let mut c = Child::spawn(Command::new(program).args([call, &count.to_string()]))?;
            let mut rust = Child::start("calls", &[call.to_owned(), count.to_string()])?;
            let pairs = alternate_sides(turns, || Ok(c.ask()? / calls), || Ok(rust.ask()? / calls))?;
            if run > 0 {
                medians.push_medians(&pairs);
            }
            for child in [c, rust] {
                let made = child.finish()?.get("count")?;
                verify(made == (count * turns) as u64, || format!("one side made {made} calls"))?;
            }
        }
        report.add(Row::new(what, Unit::Nanos, medians.differences(), C_TARGET).sides(
            Unit::Nanos,
            &medians.ours,
            &medians.other,
        ));
    }
    Ok(())
}

/// The Rust side of the calls from C, as a child: does a run for each line that it reads.
pub(crate) fn calls(words: &[String]) -> Outcome<()> {
    let count = children::number(words, 1)? as usize;
    let rust = Rust::new(children::word(words, 0)?)?;
    println!("ready");
    let mut made = 0;
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", rust.run(count)?);
        made += count;
    }
    println!("count {made}");
    Ok(())
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
    incoming: Subscription,
    asked: Option<Delivery>,
    call: String,
}

impl Rust {
    fn new(call: &str) -> Outcome<Self> {
        let store = Store::open(onceward::IN_MEMORY)?;
        let queue = store.queue("bench", Semantics::AtLeastOnce)?;
        let incoming = queue.default_subscription()?;
        let mut rust = Rust { store, queue, incoming, asked: None, call: call.to_owned() };
        if call == "ask" {
            rust.send(1)?;
            rust.asked = rust.incoming.receive(Duration::ZERO)?;
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
        let body = vec![0; load::BODY_BYTES];
        let start = Instant::now();
        for _ in 0..count {
            // Copied, as C's is.
            self.queue.send(Message::new(body.as_slice()))?;
        }
        Ok(start.elapsed())
    }

    fn receive(&self, count: usize) -> Outcome<Duration> {
        let start = Instant::now();
        for _ in 0..count {
            let delivery = self.incoming.receive(Duration::ZERO)?.ok_or("nothing came")?;
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
