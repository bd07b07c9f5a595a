//! One synced send at a time: by one caller, and by sixty-four.

use std::sync::Barrier;
use std::time::Instant;

use onceward::{Message, Semantics};

use crate::args::Plan;
use crate::bare::{Bare, Durability};
use crate::bare_group::BareGroup;
use crate::load;
use crate::measure::{Outcome, Pairs, alternate_calls, per_second, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const OVER_BARE_MICROS: f64 = 25.0;
/// Callers at once.
pub(crate) const THREADS: usize = 64;
const THREADS_RATIO: f64 = 20.0;

/// The median time of one synced send less that of one bare commit, call by call in turn.
pub(crate) fn single_send(plan: &Plan, report: &mut Report) -> Outcome<()> {
    for (semantics, bound) in
        [(Semantics::AtLeastOnce, Bound::AtMost(OVER_BARE_MICROS)), (Semantics::ExactlyOnce, Bound::None)]
    {
        let ours = Ours::open(&plan.file("ours"), semantics)?;
        let mut bare = Bare::open(&plan.file("bare"), Durability::Synced)?;
        let count = plan.size(1000, 20);
        let mut medians = Pairs::default();
        for run in 0..=plan.runs {
            let mut messages = load::batches((run * count) as u64, count, 1)
                .into_iter()
                .zip((run * count) as u64..)
                .flat_map(|(bodies, number)| ours.messages(bodies, number));
            let mut bodies = load::batches(0, count, 1).into_iter().flatten();
            let calls = alternate_calls(
                count,
                || ours.send_one(messages.next().ok_or("too few messages")?),
                || bare.insert_one(&bodies.next().ok_or("too few bodies")?),
            )?;
            if run > 0 {
                medians.push_medians(&calls);
            }
        }
        ours.verify_ready(count * (plan.runs + 1))?;
        verify(bare.count()? == count * (plan.runs + 1), || "the baseline did not insert every body".to_owned())?;
        let what = format!("one synced send over the bare commit, {semantics}");
        report.add(Row::new(what, Unit::Micros, medians.differences(), bound).sides(
            Unit::Micros,
            &medians.ours,
            &medians.other,
        ));
        ours.store.close()?;
        drop((ours, bare));
        plan.clear()?;
    }
    Ok(())
}

/// The rate of 64 threads that each wait for their own synced send, beside the rate of one. What the machine allows at all is
/// told by bare SQLite behind the simplest group commit, in the same runs.
pub(crate) fn threads(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let ours = Ours::open(&plan.file("ours"), Semantics::AtLeastOnce)?;
    let floor = BareGroup::new(Bare::open(&plan.file("bare"), Durability::Synced)?);
    let (alone, each) = (plan.size(2000, 20), plan.size(1500, 3));
    let (mut ours_pairs, mut floor_pairs, mut beside) = (Pairs::default(), Pairs::default(), Pairs::default());
    for run in 0..=plan.runs {
        let send = |body| ours.send_one(Message::new(body));
        let insert = |body| floor.insert(body);
        let (ours_one, ours_many) = (from_threads(1, alone, send)?, from_threads(THREADS, each, send)?);
        let (floor_one, floor_many) = (from_threads(1, alone, insert)?, from_threads(THREADS, each, insert)?);
        if run > 0 {
            for (pairs, ours, other) in [
                (&mut ours_pairs, ours_many, ours_one),
                (&mut floor_pairs, floor_many, floor_one),
                (&mut beside, ours_many, floor_many),
            ] {
                pairs.ours.push(ours);
                pairs.other.push(other);
            }
        }
    }
    let expected = (alone + THREADS * each) * (plan.runs + 1);
    ours.verify_ready(expected)?;
    verify(floor.count()? == expected, || "the baseline did not insert every body".to_owned())?;
    let what = format!("{THREADS} threads, one synced send at a time");
    for (what, pairs, bound) in [
        (format!("{what}, beside one thread"), ours_pairs, Bound::AtLeast(THREADS_RATIO)),
        (
            format!("{what}, bare SQLite with the least of group commits, beside one thread of it"),
            floor_pairs,
            Bound::None,
        ),
        (format!("{what}, beside that"), beside, Bound::None),
    ] {
        let row = Row::new(what, Unit::Ratio, pairs.ratios(), bound);
        report.add(row.sides(Unit::PerSecond, &pairs.ours, &pairs.other));
    }
    Ok(ours.store.close()?)
}

/// The rate of threads that begin together, from the first one's start to the last one's end.
fn from_threads(threads: usize, each: usize, send: impl Fn(Vec<u8>) -> Outcome<()> + Sync) -> Outcome<f64> {
    let barrier = Barrier::new(threads);
    let bodies: Vec<Vec<Vec<u8>>> = load::batches(0, threads * each, each);
    std::thread::scope(|scope| {
        let senders: Vec<_> = bodies
            .into_iter()
            .map(|bodies| {
                let (barrier, send) = (&barrier, &send);
                scope.spawn(move || -> Outcome<Instant> {
                    barrier.wait();
                    let start = Instant::now();
                    bodies.into_iter().try_for_each(send)?;
                    Ok(start)
                })
            })
            .collect();
        let mut starts = Vec::with_capacity(threads);
        for sender in senders {
            starts.push(sender.join().map_err(|_| "a sending thread panicked")??);
        }
        let first = starts.into_iter().min().ok_or("no thread sent anything")?;
        Ok(per_second(threads * each, first.elapsed()))
    })
}
