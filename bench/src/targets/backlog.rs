//! A long backlog costs nothing: receive+ack and statistics at 1,000,000 messages beside 1,000.

use onceward::{Receipt, ReceiveOptions, Semantics};

use crate::args::Plan;
use crate::load::{self, Tally};
use crate::measure::{Outcome, Pairs, Spread, micros, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const BATCH: usize = 100;
const SHORT: usize = 1000;
const LONG: usize = 1_000_000;
const STATS_MICROS: f64 = 1000.0;

/// One queue whose backlog stays as long as it is: each round sends a batch, then times receiving and settling one.
struct Steady {
    ours: Ours,
    next: u64,
    received: Tally,
}

impl Steady {
    fn new(plan: &Plan, name: &str, backlog: usize) -> Outcome<Self> {
        let ours = Ours::filled(&plan.file(name), Semantics::AtLeastOnce, backlog)?;
        Ok(Steady { ours, next: backlog as u64, received: Tally::default() })
    }

    fn refill(&mut self) -> Outcome<()> {
        for bodies in load::batches(self.next, BATCH, BATCH) {
            self.ours.send(self.ours.messages(bodies, self.next))?;
        }
        self.next += BATCH as u64;
        Ok(())
    }

    fn take_micros(&mut self) -> Outcome<f64> {
        micros(|| {
            let taken = self.ours.receive_and_ack(BATCH, &mut self.received)?;
            verify(taken == BATCH, || format!("received {taken} of {BATCH} messages"))
        })
    }
}

/// Both bounds of the long backlog.
pub(crate) fn backlog(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let long_size = plan.size(LONG, 5000);
    let mut short = Steady::new(plan, "short", SHORT)?;
    let mut long = Steady::new(plan, "long", long_size)?;
    let rounds = plan.size(200, 3);
    let mut pairs = Pairs::default();
    for run in 0..=plan.runs {
        let (mut short_micros, mut long_micros) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            short.refill()?;
            long.refill()?;
            if round % 2 == 0 {
                short_micros.push(short.take_micros()?);
                long_micros.push(long.take_micros()?);
            } else {
                long_micros.push(long.take_micros()?);
                short_micros.push(short.take_micros()?);
            }
        }
        if run > 0 {
            pairs.ours.push(long_micros.iter().sum::<f64>() / rounds as f64);
            pairs.other.push(short_micros.iter().sum::<f64>() / rounds as f64);
        }
    }
    let taken = (rounds * (plan.runs + 1) * BATCH) as u64;
    for steady in [&short, &long] {
        steady.received.verify(Tally::of(0, taken))?;
    }
    short.ours.verify_ready(SHORT)?;
    long.ours.verify_ready(long_size)?;
    report.add(
        Row::new(
            format!("receive+ack x{BATCH}, time at a backlog of {long_size} beside {SHORT}"),
            Unit::Ratio,
            pairs.ratios(),
            Bound::AtMost(1.2),
        )
        .sides(Unit::Micros, &pairs.ours, &pairs.other),
    );
    statistics(plan, &long.ours, long_size, report)?;
    short.ours.store.close()?;
    Ok(long.ours.store.close()?)
}

/// The time of one call for the statistics, with a few batches in flight.
fn statistics(plan: &Plan, ours: &Ours, backlog: usize, report: &mut Report) -> Outcome<()> {
    let mut receipts: Vec<Receipt> = Vec::new();
    for _ in 0..5 {
        let deliveries = ours.queue.receive_many(&ReceiveOptions::new().max(BATCH))?;
        receipts.extend(deliveries.iter().map(onceward::Delivery::receipt));
    }
    let mut medians = Vec::new();
    for _ in 0..plan.runs {
        let mut calls = Vec::new();
        for _ in 0..plan.size(200, 5) {
            calls.push(micros(|| {
                let stats = ours.queue.stats()?;
                let right =
                    stats.ready == (backlog - receipts.len()) as u64 && stats.in_flight == receipts.len() as u64;
                verify(right, || format!("wrong statistics: {stats:?}"))
            })?);
        }
        medians.push(Spread::of(&calls).median);
    }
    let what = format!("statistics at a backlog of {backlog}");
    report.add(Row::new(what, Unit::Micros, medians, Bound::Below(STATS_MICROS)));
    ours.ack(&receipts)
}
