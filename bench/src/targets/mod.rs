//! What is measured, one module per group, and against which bounds.

pub(crate) mod backlog;
pub(crate) mod batches;
pub(crate) mod extra;
pub(crate) mod languages;
pub(crate) mod ledger;
pub(crate) mod memory;
pub(crate) mod processes;
pub(crate) mod singles;
pub(crate) mod wake_up;

use crate::args::Plan;
use crate::measure::Outcome;
use crate::report::Report;

/// A named measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Plan, &mut Report) -> Outcome<()>,
}

const fn target(name: &'static str, what: &'static str, run: fn(&Plan, &mut Report) -> Outcome<()>) -> Target {
    Target { name, what, run }
}

/// Every measurement, in the order of the table.
pub(crate) const ALL: &[Target] = &[
    target("send", "send in batches of 100 and 1000, synced", batches::send),
    target("receive", "receive and ack in batches of 100 and 1000", batches::receive),
    target("single-send", "one synced send beside one bare commit", singles::single_send),
    target("threads", "64 threads that each send one synced message at a time", singles::threads),
    target("backlog", "receive and ack, and statistics, at a backlog of 1,000,000", backlog::backlog),
    target("ledger", "send with a key when the ledger holds 5,000,000 keys", ledger::ledger),
    target("processes", "four processes on one file, two sending and two receiving", processes::processes),
    target("wake-up", "from a send in one process to the body in another that sleeps", wake_up::wake_up),
    target("memory", "resident memory while 1,000,000 messages are drained", memory::memory),
    target("c", "calls from C beside the same calls from Rust", languages::c_calls),
    target("languages", "Python and Node in batches of 100 beside Rust", languages::batches),
    target("extra", "at-most-once sends, transactions, an idle receiver (information)", extra::extra),
];

/// The measurements of these names, all when there are none.
pub(crate) fn choose(names: &[String]) -> Outcome<Vec<Target>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    names
        .iter()
        .map(|name| {
            let found = ALL.iter().find(|target| target.name == name);
            found.copied().ok_or_else(|| format!("no measurement is named {name:?}; see --list").into())
        })
        .collect()
}
