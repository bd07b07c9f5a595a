//! Figures without a target: at-most-once sends, transactions, the cost of waiting.

use std::path::Path;
use std::time::{Duration, Instant};

use onceward::{Message, ReceiveOptions, Semantics, Value};

use crate::args::Plan;
use crate::bare::{Bare, Durability};
use crate::children::{self, Child, word};
use crate::load::{self, Tally};
use crate::machine;
use crate::measure::{Outcome, alternate, per_second, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const IDLE_WAIT: Duration = Duration::from_secs(60);

/// All of them.
pub(crate) fn extra(plan: &Plan, report: &mut Report) -> Outcome<()> {
    at_most_once(plan, report)?;
    transactions(plan, report)?;
    idle(plan, report)
}

/// Single sends that do not wait for the disk, beside single bare commits that do not.
fn at_most_once(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let ours = Ours::open(&plan.file("ours"), Semantics::AtMostOnce)?;
    let mut bare = Bare::open(&plan.file("bare"), Durability::Unsynced)?;
    let count = plan.size(10_000, 50);
    let pairs = alternate(
        plan.runs,
        || {
            let messages: Vec<Message> = (0..count as u64).map(|number| Message::new(load::body(number))).collect();
            let start = Instant::now();
            for message in messages {
                ours.send_one(message)?;
            }
            Ok(per_second(count, start.elapsed()))
        },
        || {
            let bodies: Vec<Vec<u8>> = (0..count as u64).map(load::body).collect();
            let start = Instant::now();
            for body in &bodies {
                bare.insert_one(body)?;
            }
            Ok(per_second(count, start.elapsed()))
        },
    )?;
    ours.verify_ready(count * (plan.runs + 1))?;
    verify(bare.count()? == count * (plan.runs + 1), || "the baseline did not insert every body".to_owned())?;
    report.add(Row::new("send x1, at-most-once, not synced", Unit::Ratio, pairs.ratios(), Bound::None).sides(
        Unit::PerSecond,
        &pairs.ours,
        &pairs.other,
    ));
    ours.store.close()?;
    drop((ours, bare));
    plan.clear()
}

/// An effect and the acknowledgement in one synced commit, message by message, received in batches of 100.
fn transactions(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let count = plan.size(1000, 20);
    let total = count * (plan.runs + 1);
    let ours = Ours::filled(&plan.file("ours"), Semantics::ExactlyOnce, total)?;
    let mut bare = Bare::filled(&plan.file("bare"), Durability::Synced, total)?;
    bare.create_effects()?;
    let mut setup = ours.store.transaction()?;
    setup.execute("CREATE TABLE effect(number INTEGER)", &[])?;
    setup.commit()?;
    let mut received = Tally::default();
    let mut next = 0;
    let pairs = alternate(
        plan.runs,
        || {
            let start = Instant::now();
            let mut handled = 0;
            while handled < count {
                let max = (count - handled).min(100);
                for delivery in ours.queue.receive_many(&ReceiveOptions::new().max(max))? {
                    received.add(delivery.body())?;
                    let number = load::read_u64(delivery.body()) as i64;
                    let mut transaction = delivery.transaction()?;
                    transaction.execute("INSERT INTO effect(number) VALUES (?1)", &[Value::Integer(number)])?;
                    transaction.commit()?;
                    handled += 1;
                }
            }
            Ok(per_second(count, start.elapsed()))
        },
        || {
            let start = Instant::now();
            for _ in 0..count {
                bare.effect_and_delete(next)?;
                next += 1;
            }
            Ok(per_second(count, start.elapsed()))
        },
    )?;
    received.verify(Tally::of(0, total as u64))?;
    ours.verify_ready(0)?;
    let mut check = ours.store.transaction()?;
    let effects = check.query("SELECT count(*), count(DISTINCT number) FROM effect", &[])?;
    check.rollback();
    let each = Value::Integer(total as i64);
    verify(effects.rows == [vec![each.clone(), each]], || format!("{total} effects, but {:?}", effects.rows))?;
    report.add(
        Row::new("transaction(): effect + ack x1, exactly-once, synced", Unit::Ratio, pairs.ratios(), Bound::None)
            .sides(Unit::PerSecond, &pairs.ours, &pairs.other),
    );
    ours.store.close()?;
    drop((ours, bare));
    plan.clear()
}

/// The processor time of a process that waits in `receive` on an empty queue.
fn idle(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let file = plan.file("idle");
    let ours = Ours::open(&file, Semantics::AtLeastOnce)?;
    let mut child = Child::start("idle", &[file.display().to_string()])?;
    child.go()?;
    std::thread::sleep(Duration::from_millis(plan.size(1000, 100) as u64));
    let (start, before) = (Instant::now(), machine::cpu_ns(child.id())?);
    std::thread::sleep(Duration::from_millis(plan.size(5000, 200) as u64));
    let spent = machine::cpu_ns(child.id())? - before;
    let percent = spent as f64 / start.elapsed().as_nanos() as f64 * 100.0;
    ours.send_one(Message::new(load::body(1)))?;
    verify(child.finish()?.get("count")? == 1, || "the idle receiver did not wake".to_owned())?;
    ours.store.close()?;
    report.add(
        Row::new("an idle receiver, share of a core over 5 s", Unit::Percent, vec![percent], Bound::None)
            .other("the core's own limit: 0.50%"),
    );
    Ok(())
}

/// The child that waits: `file`.
pub(crate) fn idle_child(words: &[String]) -> Outcome<()> {
    let ours = Ours::open(Path::new(word(words, 0)?), Semantics::AtLeastOnce)?;
    children::ready()?;
    let delivery = ours.queue.receive(IDLE_WAIT)?.ok_or("no message came")?;
    let mut tally = Tally::default();
    tally.add(delivery.body())?;
    delivery.ack()?;
    ours.store.close()?;
    println!("count {}", tally.count);
    Ok(())
}
