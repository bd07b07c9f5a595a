//! From a send in one process to the body in the hands of another that slept in `receive`.

use std::path::Path;
use std::time::Duration;

use onceward::{Message, Semantics};

use crate::args::Plan;
use crate::children::{self, Child, number, word};
use crate::load;
use crate::measure::{Outcome, micros, monotonic_ns, percentile, verify};
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
        plan.clear()?;
    }
    let row = |what: &str, figures, bound| {
        Row::new(format!("wake-up across processes, send call to body, {what}"), Unit::Micros, figures, bound)
    };
    report.add(row("p50", p50, Bound::Below(P50_MICROS)));
    report.add(row("p99", p99, Bound::Below(P99_MICROS)));
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
    let mut sends = Vec::new();
    for count in 0..messages {
        let pause = PAUSE_MICROS.0 + load::mix(count) % PAUSE_MICROS.1;
        std::thread::sleep(Duration::from_micros(pause));
        let mut body = load::body(count);
        body[..8].copy_from_slice(&monotonic_ns().to_le_bytes());
        let message = Message::new(body);
        sends.push((micros(|| ours.send_one(message))? * 1e3) as u64);
    }
    ours.store.close()?;
    sends.sort_unstable();
    println!("send_p50_ns {}", percentile(&sends, 0.5));
    Ok(())
}
