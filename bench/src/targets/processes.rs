//! Four processes on one file, two sending and two receiving, beside one process that does the same work alone.

use std::path::Path;
use std::time::{Duration, Instant};

use onceward::{Message, Receipt, ReceiveOptions, Semantics};

use crate::args::Plan;
use crate::children::{self, Child, Findings, number, word};
use crate::load::{self, Tally};
use crate::measure::{Outcome, alternate, monotonic_ns, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const RATE_RATIO: f64 = 0.5;
const CALL_MICROS_MAX: f64 = 1e6;
/// How long an idle receiver waits before it looks whether the senders are done. Counts as time of the call.
const WAIT: Duration = Duration::from_millis(20);

/// In batches of 100 (the target) and one at a time (information).
pub(crate) fn processes(plan: &Plan, report: &mut Report) -> Outcome<()> {
    compare(plan, report, 100, plan.size(60_000, 1000), Bound::AtLeast(RATE_RATIO))?;
    compare(plan, report, 1, plan.size(6000, 40), Bound::None)
}

fn compare(plan: &Plan, report: &mut Report, batch: usize, count: usize, bound: Bound) -> Outcome<()> {
    let (mut worst, mut worst_alone) = (Vec::new(), Vec::new());
    let half = count as u64 / 2;
    let pairs = alternate(
        plan.runs,
        || {
            let parts = [("send", 0, half), ("send", half, half), ("receive", 0, 0), ("receive", 0, 0)];
            together(plan, batch, &parts, &mut worst)
        },
        || together(plan, batch, &[("alone", 0, half * 2)], &mut worst_alone),
    )?;
    report.add(
        Row::new(format!("4 processes on one file, x{batch}, total rate beside 1"), Unit::Ratio, pairs.ratios(), bound)
            .sides(Unit::PerSecond, &pairs.ours, &pairs.other),
    );
    let bound = if bound == Bound::None { Bound::None } else { Bound::AtMost(CALL_MICROS_MAX) };
    let what = format!("4 processes on one file, x{batch}, longest call of any process");
    report.add(Row::new(what, Unit::Micros, worst, bound).worst_counts());
    let what = format!("1 process alone, x{batch}, longest call");
    report.add(Row::new(what, Unit::Micros, worst_alone, Bound::None).worst_counts());
    Ok(())
}

/// Runs the parts on a fresh file and gives the rate of messages that went all the way through.
fn together(plan: &Plan, batch: usize, parts: &[(&str, u64, u64)], worst: &mut Vec<f64>) -> Outcome<f64> {
    let (file, done) = (plan.file("shared"), plan.file("done"));
    Ours::open(&file, Semantics::AtLeastOnce)?.store.close()?;
    let mut children = Vec::new();
    for (part, first, count) in parts {
        let words = [
            file.display().to_string(),
            done.display().to_string(),
            (*part).to_owned(),
            batch.to_string(),
            first.to_string(),
            count.to_string(),
        ];
        children.push(Child::start("work", &words)?);
    }
    for child in &mut children {
        child.go()?;
    }
    let mut senders = children;
    let receivers = senders.split_off(parts.iter().filter(|part| part.0 != "receive").count());
    let mut findings = finish_all(senders)?;
    let _done = std::fs::File::create(&done)?;
    findings.extend(finish_all(receivers)?);

    let sent: u64 = parts.iter().map(|part| part.2).sum();
    let received = findings.iter().try_fold(Tally::default(), |sum, found| {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            sum.and(Tally { count: found.get("count")?, sum: found.get("sum")? }),
        )
    })?;
    received.verify(Tally::of(0, sent))?;
    let ours = Ours::open(&file, Semantics::AtLeastOnce)?;
    ours.verify_ready(0)?;
    ours.store.close()?;
    drop(ours);
    plan.clear()?;

    worst.push(fold(&findings, "worst_ns", u64::max)? as f64 / 1e3);
    let elapsed_ns = fold(&findings, "end_ns", u64::max)? - fold(&findings, "start_ns", u64::min)?;
    Ok(sent as f64 / (elapsed_ns as f64 / 1e9))
}

fn finish_all(children: Vec<Child>) -> Outcome<Vec<Findings>> {
    children.into_iter().map(Child::finish).collect()
}

fn fold(findings: &[Findings], name: &str, pick: fn(u64, u64) -> u64) -> Outcome<u64> {
    let values = findings.iter().map(|found| found.get(name)).collect::<Outcome<Vec<u64>>>()?;
    values.into_iter().reduce(pick).ok_or_else(|| "no child said anything".into())
}

/// What one process does and notices.
struct Worker {
    ours: Ours,
    batch: usize,
    worst: Duration,
    received: Tally,
    end_ns: u64,
}

/// The child: `file done part batch first count`.
pub(crate) fn child(words: &[String]) -> Outcome<()> {
    let ours = Ours::open(Path::new(word(words, 0)?), Semantics::AtLeastOnce)?;
    let done = Path::new(word(words, 1)?);
    let batch = number(words, 3)? as usize;
    let (first, count) = (number(words, 4)?, number(words, 5)? as usize);
    let mut worker = Worker { ours, batch, worst: Duration::ZERO, received: Tally::default(), end_ns: 0 };
    let bodies = load::batches(first, count, batch);
    children::ready()?;
    let start_ns = monotonic_ns();
    worker.end_ns = start_ns;
    match word(words, 2)? {
        "send" => {
            for bodies in bodies {
                worker.send(bodies)?;
            }
        }
        "receive" => worker.receive_until(done)?,
        _ => {
            for bodies in bodies {
                worker.send(bodies)?;
                worker.receive()?;
            }
        }
    }
    worker.ours.store.close()?;
    println!("start_ns {start_ns}\nend_ns {}\nworst_ns {}", worker.end_ns, worker.worst.as_nanos());
    println!("count {}\nsum {}", worker.received.count, worker.received.sum);
    Ok(())
}

impl Worker {
    fn send(&mut self, mut bodies: Vec<Vec<u8>>) -> Outcome<()> {
        if self.batch == 1
            && let Some(body) = bodies.pop()
        {
            let message = Message::new(body);
            return self.timed(|ours| ours.send_one(message));
        }
        self.timed(|ours| ours.send(ours.messages(bodies, 0)))
    }

    fn receive_until(&mut self, done: &Path) -> Outcome<()> {
        let mut last_was_empty = false;
        loop {
            let finished = last_was_empty && done.exists();
            last_was_empty = self.receive()? == 0;
            if finished && last_was_empty {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> Outcome<usize> {
        let options = ReceiveOptions::new().max(self.batch).wait(WAIT);
        let deliveries = self.timed(|ours| Ok(ours.queue.receive_many(&options)?))?;
        for delivery in &deliveries {
            self.received.add(delivery.body())?;
        }
        let receipts: Vec<Receipt> = deliveries.iter().map(onceward::Delivery::receipt).collect();
        if !receipts.is_empty() {
            self.timed(|ours| ours.ack(&receipts))?;
            self.end_ns = monotonic_ns();
        }
        Ok(receipts.len())
    }

    fn timed<T>(&mut self, call: impl FnOnce(&Ours) -> Outcome<T>) -> Outcome<T> {
        let start = Instant::now();
        let answer = call(&self.ours)?;
        let elapsed = start.elapsed();
        self.worst = self.worst.max(elapsed);
        verify(elapsed < Duration::from_secs(30), || format!("one call took {elapsed:?}"))?;
        Ok(answer)
    }
}
