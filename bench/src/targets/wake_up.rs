//! From a send in one process to the body in the hands of another that slept in `receive`.

use std::path::Path;
use std::time::Duration;

use onceward::{Message, Semantics};

use crate::args::Plan;
use crate::bare::{Bare, Durability};
use crate::children::{self, Child, number, word};
use crate::load;
use crate::measure::{Outcome, Spread, monotonic_ns, percentile, verify};
use crate::ours::Ours;
use crate::report::{Bound, Report, Row, Unit};

const P50_MICROS: f64 = 300.0;
const P99_MICROS: f64 = 1500.0;
const WAIT: Duration = Duration::from_secs(20);
/// Between two sends, so that the receiver sleeps again: 3 ms and up to 4 more.
const PAUSE_MICROS: (u64, u64) = (3000, 4000);

/// Rounds of messages, each with a fresh pair of processes.
pub(crate) fn wake_up(plan: &Plan, report: &mut Report) -> Outcome<()> {
    let messages = plan.size(500, 20);
    let rounds = plan.runs.min(5);
    let (mut p50, mut p99, mut worst, mut sends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bare = Bare::open(&plan.file("paced"), Durability::Synced)?;
    let (mut bare_p50, mut bare_p99) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let words = [plan.file("wake").display().to_string(), messages.to_string()];
        Ours::open(&plan.file("wake"), Semantics::AtLeastOnce)?.store.close()?;
        let mut receiver = Child::start("wake-receiver", &words)?;
        let mut sender = Child::start("wake-sender", &words)?;
        receiver.go()?;
        sender.go()?;
        let sending = sender.finish()?;
        let found = receiver.finish()?;
        verify(found.get("count")? == messages as u64, || "the receiver missed messages".to_owned())?;
        sends.push(sending.get("send_p50_ns")? as f64 / 1e3);
        p50.push(found.get("p50_ns")? as f64 / 1e3);
        p99.push(found.get("p99_ns")? as f64 / 1e3);
        worst.push(found.get("max_ns")? as f64 / 1e3);
        plan.remove("wake")?;
        let commits = paced(messages, |body| bare.insert_one(&body))?;
        bare_p50.push(percentile(&commits, 0.5) as f64 / 1e3);
        bare_p99.push(percentile(&commits, 0.99) as f64 / 1e3);
    }
    // With nothing but the commit in it, this is what the disk leaves of the bound.
    let floor = |figures: &[f64]| format!("bare commit: {}", Unit::Micros.text(Spread::of(figures).median));
    let row = |what: &str, figures, bound| {
        Row::new(format!("wake-up across processes, send call to body, {what}"), Unit::Micros, figures, bound)
    };
    report.add(row("p50", p50, Bound::Below(P50_MICROS)).other(floor(&bare_p50)));
    report.add(row("p99", p99, Bound::Below(P99_MICROS)).other(floor(&bare_p99)));
    report.add(row("longest", worst, Bound::None));
    report.add(row("the synced send itself, p50", sends, Bound::None));
    Ok(())
}

/// The receiving child: `file messages`.
pub(crate) fn receiver(words: &[String]) -> Outcome<()> {
    let ours = Ours::open(Path::new(word(words, 0)?), Semantics::AtLeastOnce)?;
    let messages = number(words, 1)?;
    children::ready()?;
    let mut latencies = Vec::new();
    for _ in 0..messages {
        let delivery = ours.queue.receive(WAIT)?.ok_or("no message came")?;
        let now_ns = monotonic_ns();
        let sent_ns = load::read_u64(delivery.body());
        verify(delivery.body().len() == load::BODY_BYTES && sent_ns < now_ns, || "a strange body".to_owned())?;
        latencies.push(now_ns - sent_ns);
        delivery.ack()?;
    }
    ours.verify_ready(0)?;
    ours.store.close()?;
    latencies.sort_unstable();
    println!("count {}\np50_ns {}", latencies.len(), percentile(&latencies, 0.5));
    println!("p99_ns {}\nmax_ns {}", percentile(&latencies, 0.99), percentile(&latencies, 1.0));
    Ok(())
}

/// The sending child: `file messages`.
pub(crate) fn sender(words: &[String]) -> Outcome<()> {
    let ours = Ours::open(Path::new(word(words, 0)?), Semantics::AtLeastOnce)?;
    let messages = number(words, 1)?;
    children::ready()?;
    std::thread::sleep(Duration::from_millis(50));
    let sends = paced(messages as usize, |body| ours.send_one(Message::new(body)))?;
    ours.store.close()?;
    println!("send_p50_ns {}", percentile(&sends, 0.5));
    Ok(())
}

/// Makes calls with pauses in between, each with a body that begins with the time. Returns how long each took, sorted.
fn paced(calls: usize, mut call: impl FnMut(Vec<u8>) -> Outcome<()>) -> Outcome<Vec<u64>> {
    let mut taken_ns = Vec::with_capacity(calls);
    for count in 0..calls as u64 {
        let pause = PAUSE_MICROS.0 + load::mix(count) % PAUSE_MICROS.1;
        std::thread::sleep(Duration::from_micros(pause));
        let mut body = load::body(count);
        let start_ns = monotonic_ns();
        body[..8].copy_from_slice(&start_ns.to_le_bytes());
        call(body)?;
        taken_ns.push(monotonic_ns() - start_ns);
    }
    taken_ns.sort_unstable();
    Ok(taken_ns)
}
