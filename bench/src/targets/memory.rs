//! Resident memory of a fresh process that drains 1,000,000 messages.

use std::path::Path;

use onceward::{ConsumeOptions, Semantics};

use crate::args::Plan;
use crate::children::{self, Child, number, word};
use crate::load::Tally;
use crate::machine;
use crate::measure::{Outcome, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const MESSAGES: usize = 1_000_000;
const RESIDENT_MIB: f64 = 64.0;

/// By batches of 100 and 1000, and with `consume`.
pub(crate) fn memory(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let messages = plan.size(MESSAGES, 5000);
    for (call, batch) in [("receive+ack", 100), ("receive+ack", 1000), ("consume()", 100), ("consume()", 1000)] {
        let ours = Ours::open(&plan.file("memory"), Semantics::AtLeastOnce)?;
        ours.fill(messages)?;
        ours.store.close()?;
        let words =
            [plan.file("memory").display().to_string(), call.to_owned(), batch.to_string(), messages.to_string()];
        let mut child = Child::start("drain", &words)?;
        child.go()?;
        let found = child.finish()?;
        Tally { count: found.get("count")?, sum: found.get("sum")? }.verify(Tally::of(0, messages as u64))?;
        let resident = found.get("resident_kib")? as f64 / 1024.0;
        let what = format!("most resident memory, draining {messages} messages, {call} x{batch}");
        report.add(
            Row::new(what, Unit::Mebibytes, vec![resident], Bound::Below(RESIDENT_MIB))
                .other(format!("{:.1} MiB when opened", found.get("opened_kib")? as f64 / 1024.0)),
        );
        plan.clear()?;
    }
    Ok(())
}

/// The child: `file call batch messages`.
pub(crate) fn child(words: &[String]) -> Outcome<()> {
    let ours = Ours::open(Path::new(word(words, 0)?), Semantics::AtLeastOnce)?;
    let (batch, messages) = (number(words, 2)? as usize, number(words, 3)?);
    children::ready()?;
    let opened_kib = resident_kib()?;
    let mut tally = Tally::default();
    if word(words, 1)? == "consume()" {
        let mut consumer = ours.queue.consume(ConsumeOptions::new().batch(batch))?;
        for delivery in consumer.by_ref().take(messages as usize) {
            let delivery = delivery?;
            tally.add(delivery.body())?;
            delivery.ack()?;
        }
        consumer.close()?;
    } else {
        while ours.receive_and_ack(batch, &mut tally)? > 0 {}
    }
    ours.verify_ready(0)?;
    let resident_kib = resident_kib()?;
    verify(resident_kib >= opened_kib, || "the high-water mark fell".to_owned())?;
    ours.store.close()?;
    println!("count {}\nsum {}\nopened_kib {opened_kib}\nresident_kib {resident_kib}", tally.count, tally.sum);
    Ok(())
}

/// The high-water mark of this process's resident memory.
fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    machine::field(&status, "VmHWM:").ok_or_else(|| "no VmHWM in /proc/self/status".into())
}
