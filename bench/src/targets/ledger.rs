//! A long memory costs little: a synced send with a key when the ledger holds 5,000,000 keys beside an empty one.

use onceward::{Message, Receipt, ReceiveOptions, Semantics};

use crate::args::Plan;
use crate::load;
use crate::measure::{Outcome, Pairs, alternate_calls, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const KEYS: usize = 5_000_000;
const BATCH: usize = 10_000;
const TARGET: Bound = Bound::AtMost(2.0);

/// What keys look like: those the ledger is filled with, given their number and how many there are, and new ones.
struct Keys {
    kind: &'static str,
    old: fn(u64, u64) -> String,
    new: fn(u64) -> String,
}

const RANDOM: Keys = Keys { kind: "random", old: load::spread_key, new: load::random_key };
const SEQUENTIAL: Keys =
    Keys { kind: "sequential", old: |number, _| load::sequential_key(number), new: load::sequential_key };

/// With keys that look random, and with keys that follow each other.
pub(crate) fn ledger(plan: &Plan, report: &mut Report) -> Outcome<()> {
    for Keys { kind, old, new } in [RANDOM, SEQUENTIAL] {
        let keys = plan.size(KEYS, 20_000);
        let full = filled(plan, keys, old)?;
        let empty = Ours::open(&plan.file("empty"), Semantics::ExactlyOnce)?;
        let calls = plan.size(1000, 20);
        let (mut means, mut medians) = (Pairs::default(), Pairs::default());
        for run in 0..=plan.runs {
            let first = (keys + run * calls) as u64;
            let messages =
                || (first..).take(calls).map(|number| Message::new(load::body(number)).key(new(number))).collect();
            let (to_full, to_empty): (Vec<Message>, Vec<Message>) = (messages(), messages());
            let (mut to_full, mut to_empty) = (to_full.into_iter(), to_empty.into_iter());
            let pairs = alternate_calls(
                calls,
                || full.send_one(to_full.next().ok_or("too few messages")?),
                || empty.send_one(to_empty.next().ok_or("too few messages")?),
            )?;
            if run > 0 {
                means.push_means(&pairs);
                medians.push_medians(&pairs);
            }
        }
        for ours in [&full, &empty] {
            ours.verify_ready(calls * (plan.runs + 1))?;
        }
        verify_remembered(&full, keys, old)?;
        let what = format!("send with a {kind} key, time with {keys} keys in the ledger beside none");
        report.add(Row::new(format!("{what}, mean of a run"), Unit::Ratio, means.ratios(), TARGET).sides(
            Unit::Micros,
            &means.ours,
            &means.other,
        ));
        report.add(Row::new(format!("{what}, median of a run"), Unit::Ratio, medians.ratios(), TARGET).sides(
            Unit::Micros,
            &medians.ours,
            &medians.other,
        ));
        full.store.close()?;
        empty.store.close()?;
        drop((full, empty));
        plan.clear()?;
    }
    Ok(())
}

/// A store whose queue was sent `keys` messages, all of them drained.
fn filled(plan: &Plan, keys: usize, key: fn(u64, u64) -> String) -> Outcome<Ours> {
    let ours = Ours::open(&plan.file("full"), Semantics::ExactlyOnce)?;
    for first in (0..keys).step_by(BATCH) {
        let numbers = first..keys.min(first + BATCH);
        ours.send(numbers.map(|number| filler(number, keys, key)).collect())?;
        if first % (keys / 10).next_multiple_of(BATCH) == 0 {
            eprintln!("  {first} of {keys} keys …");
        }
    }
    ours.verify_ready(keys)?;
    let mut drained = 0;
    loop {
        let deliveries = ours.queue.receive_many(&ReceiveOptions::new().max(BATCH))?;
        if deliveries.is_empty() {
            break;
        }
        let receipts: Vec<Receipt> = deliveries.iter().map(onceward::Delivery::receipt).collect();
        ours.ack(&receipts)?;
        drained += receipts.len();
    }
    verify(drained == keys, || format!("drained {drained} of {keys} messages"))?;
    ours.verify_ready(0)?;
    Ok(ours)
}

fn filler(number: usize, keys: usize, key: fn(u64, u64) -> String) -> Message {
    Message::new(number.to_le_bytes()).key(key(number as u64, keys as u64))
}

/// The ledger must really hold the keys: a sample of them, sent again, are duplicates.
fn verify_remembered(ours: &Ours, keys: usize, key: fn(u64, u64) -> String) -> Outcome<()> {
    for number in (0..keys).step_by(keys / 100) {
        let again = ours.queue.send(filler(number, keys, key))?;
        verify(again.duplicate, || format!("key {} was forgotten", key(number as u64, keys as u64)))?;
    }
    Ok(())
}
