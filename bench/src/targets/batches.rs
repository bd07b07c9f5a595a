//! Sending and draining in batches, beside bare SQLite with the same batches and the same syncs.

use std::time::Instant;

use onceward::{ConsumeOptions, Semantics};

use crate::args::Plan;
use crate::bare::{Bare, Durability};
use crate::load::{self, Tally};
use crate::measure::{Outcome, Pairs, alternate, per_second, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const SEND_TARGET: Bound = Bound::AtLeast(0.6);
const RECEIVE_TARGET: Bound = Bound::AtLeast(0.5);
/// Messages per run, by size of the batch.
const SIZES: [(usize, usize); 2] = [(100, 60_000), (1000, 60_000)];

/// `send_many`, synced, beside inserting the bodies with `synchronous=FULL`.
pub(crate) fn send(plan: &Plan, report: &mut Report) -> Outcome<()> {
    for (batch, full) in SIZES {
        let count = plan.size(full, batch * 3);
        for (semantics, bound) in [(Semantics::AtLeastOnce, SEND_TARGET), (Semantics::ExactlyOnce, Bound::None)] {
            let pairs = send_pairs(plan, semantics, batch, count)?;
            let keys = if semantics == Semantics::ExactlyOnce { ", with keys" } else { "" };
            report.add(rates(format!("send x{batch}, {semantics}{keys}, synced"), &pairs, bound));
        }
    }
    Ok(())
}

/// `receive_many` and `ack` of the whole batch, and `consume` with folded acknowledgements, beside reading and
/// deleting by range.
pub(crate) fn receive(plan: &Plan, report: &mut Report) -> Outcome<()> {
    for (batch, full) in SIZES {
        let count = plan.size(full, batch * 3);
        for (semantics, bound) in [(Semantics::AtLeastOnce, RECEIVE_TARGET), (Semantics::ExactlyOnce, Bound::None)] {
            let pairs = receive_pairs(plan, semantics, batch, count)?;
            let synced = if semantics == Semantics::ExactlyOnce { "ack synced" } else { "not synced" };
            report.add(rates(format!("receive+ack x{batch}, {semantics}, {synced}"), &pairs, bound));
        }
        let pairs = consume_pairs(plan, batch, count)?;
        report.add(rates(format!("consume() x{batch}, at-least-once, folded acks"), &pairs, Bound::None));
    }
    Ok(())
}

fn rates(what: String, pairs: &Pairs, bound: Bound) -> Row {
    Row::new(what, Unit::Ratio, pairs.ratios(), bound).sides(Unit::PerSecond, &pairs.ours, &pairs.other)
}

fn send_pairs(plan: &Plan, semantics: Semantics, batch: usize, count: usize) -> Outcome<Pairs> {
    let ours = Ours::open(&plan.file("ours"), semantics)?;
    let mut bare = Bare::open(&plan.file("bare"), Durability::Synced)?;
    let mut first = 0;
    let pairs = alternate(
        plan.runs,
        || {
            let bodies = load::batches(first, count, batch);
            let start = Instant::now();
            for bodies in bodies {
                let messages = ours.messages(bodies, first);
                ours.send(messages)?;
                first += batch as u64;
            }
            Ok(per_second(count, start.elapsed()))
        },
        || {
            let bodies = load::batches(0, count, batch);
            let start = Instant::now();
            for bodies in &bodies {
                bare.insert(bodies)?;
            }
            Ok(per_second(count, start.elapsed()))
        },
    )?;
    let expected = count * (plan.runs + 1);
    ours.verify_ready(expected)?;
    verify(bare.count()? == expected, || "the baseline did not insert every body".to_owned())?;
    finish(plan, ours, bare)?;
    Ok(pairs)
}

fn receive_pairs(plan: &Plan, semantics: Semantics, batch: usize, count: usize) -> Outcome<Pairs> {
    let durability = if semantics == Semantics::ExactlyOnce { Durability::Synced } else { Durability::Unsynced };
    let total = count * (plan.runs + 1);
    let ours = Ours::filled(&plan.file("ours"), semantics, total)?;
    let mut bare = Bare::filled(&plan.file("bare"), durability, total)?;
    let (mut received, mut taken) = (Tally::default(), Tally::default());
    let pairs = alternate(
        plan.runs,
        || drain(count, batch, || ours.receive_and_ack(batch, &mut received)),
        || drain(count, batch, || bare.take(batch, &mut taken)),
    )?;
    received.verify(Tally::of(0, total as u64))?;
    taken.verify(received)?;
    ours.verify_ready(0)?;
    finish(plan, ours, bare)?;
    Ok(pairs)
}

fn consume_pairs(plan: &Plan, batch: usize, count: usize) -> Outcome<Pairs> {
    let total = count * (plan.runs + 1);
    let ours = Ours::filled(&plan.file("ours"), Semantics::AtLeastOnce, total)?;
    let mut bare = Bare::filled(&plan.file("bare"), Durability::Unsynced, total)?;
    let (mut received, mut taken) = (Tally::default(), Tally::default());
    let pairs = alternate(
        plan.runs,
        || {
            let start = Instant::now();
            let mut consumer = ours.queue.consume(ConsumeOptions::new().batch(batch))?;
            for delivery in consumer.by_ref().take(count) {
                let delivery = delivery?;
                received.add(delivery.body())?;
                delivery.ack()?;
            }
            consumer.close()?;
            Ok(per_second(count, start.elapsed()))
        },
        || drain(count, batch, || bare.take(batch, &mut taken)),
    )?;
    received.verify(Tally::of(0, total as u64))?;
    taken.verify(received)?;
    ours.verify_ready(0)?;
    finish(plan, ours, bare)?;
    Ok(pairs)
}

/// The rate of taking `count` messages, a whole batch at a time.
fn drain(count: usize, batch: usize, mut take: impl FnMut() -> Outcome<usize>) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..count / batch {
        let taken = take()?;
        verify(taken == batch, || format!("asked for {batch} messages, got {taken}"))?;
    }
    Ok(per_second(count, start.elapsed()))
}

fn finish(plan: &Plan, ours: Ours, bare: Bare) -> Outcome<()> {
    ours.store.close()?;
    drop((ours, bare));
    plan.clear()
}
