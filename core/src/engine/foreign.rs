//! What programs did to the file through its views (`storage/interface.sql`), and what the engine must add to it.
//!
//! The triggers check and write what cannot wait: messages, ledger entries, who holds what. What takes the engine's rules
//! they note in `onceward_foreign`, and it is done here, before anything else of the next commit of any store: so no
//! operation ever sees a message sent without its fingerprint and headers, or one settled whose line was not moved on.

use crate::clock;
use crate::engine::context::{Context, Fault, Outcome, Terms, lane_of};
use crate::engine::operation::{self, QueueId, SubscriptionId};
use crate::engine::order::{self, Retry};
use crate::engine::{pending, sql};
use crate::message::{Headers, encode_headers};
use crate::rules::interval::Interval;
use crate::types::Millis;

/// Notes read in one go.
const NOTES_ROWS: i64 = 500;

/// What a program did. The numbers are the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Sent,
    Acknowledged,
    GivenBack,
    /// Given back after its last attempt: it is a dead letter.
    Died,
}

/// A row of `onceward_foreign`.
#[derive(Debug)]
struct Note {
    done: Done,
    subscription: Option<SubscriptionId>,
    message: i64,
    at: Millis,
    delay_ms: Option<i64>,
    headers: Option<String>,
    number: i64,
}

/// Does what programs that write the file through SQL have left to do.
pub(crate) fn absorb(cx: &mut Context<'_>) -> Outcome<()> {
    while let Some(last) = absorb_some(cx)? {
        cx.run(sql::FOREIGN_DELETE, [last])?;
    }
    Ok(())
}

/// Returns the number of the last note that was dealt with.
fn absorb_some(cx: &mut Context<'_>) -> Outcome<Option<i64>> {
    let notes = cx.rows(sql::FOREIGN_FIRST, [NOTES_ROWS], |row| {
        let verb: i64 = row.get(1)?;
        Ok(Note {
            number: row.get(0)?,
            done: match verb {
                0 => Done::Sent,
                1 => Done::Acknowledged,
                2 => Done::GivenBack,
                _ => Done::Died,
            },
            subscription: row.get::<_, Option<i64>>(2)?.map(SubscriptionId),
            message: row.get(3)?,
            at: Millis::new(row.get(4)?),
            delay_ms: row.get(5)?,
            headers: row.get(6)?,
        })
    })?;
    for note in &notes {
        match deal_with(cx, note) {
            // Its subscription has ended, and with it what it had to do.
            Ok(()) | Err(Fault::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(notes.last().map(|note| note.number))
}

fn deal_with(cx: &mut Context<'_>, note: &Note) -> Outcome<()> {
    let Some(subscription) = note.subscription else { return sent(cx, note) };
    let terms = cx.terms(subscription)?;
    let run = Interval::one(note.message);
    match note.done {
        Done::Acknowledged => pending::finish(cx, &terms, run),
        Done::GivenBack => given_back(cx, &terms, note, run),
        Done::Died if terms.ordered => order::finished(cx, &terms, run),
        Done::Sent | Done::Died => Ok(()),
    }
}

fn sent(cx: &mut Context<'_>, note: &Note) -> Outcome<()> {
    let Some(queue) = cx.row(sql::LANE_QUEUE, [lane_of(note.message)], |row| row.get(0))?.map(QueueId) else {
        return Ok(());
    };
    let keyed = cx.row(sql::MESSAGE_KEYED_BODY, [note.message], |row| {
        Ok((row.get::<_, String>(0)?, operation::fingerprint(&row.get::<_, Vec<u8>>(1)?)))
    })?;
    if let Some((key, fingerprint)) = keyed {
        cx.run(sql::LEDGER_FINGERPRINT, (queue.0, key, note.message, fingerprint.as_slice()))?;
    }
    if let Some(headers) = encode_headers(&headers(note.headers.as_deref().unwrap_or_default())) {
        cx.run(sql::MESSAGE_HEADERS_SET, (note.message, headers))?;
    }
    let row = cx.queue(queue)?;
    // Whether the sender's connection synced it is not known here: nobody is handed what may not be on disk.
    cx.commit.sends |= row.semantics.syncs_send();
    cx.commit.together = true;
    cx.wake(queue, row.subscriptions, 1);
    Ok(())
}

/// Headers from lines of a name, a colon, and a value; one space after the colon is not the value's.
fn headers(lines: &str) -> Headers {
    let named = lines.lines().filter_map(|line| line.split_once(':'));
    named.map(|(name, value)| (name.to_owned(), value.strip_prefix(' ').unwrap_or(value).into())).collect()
}

fn given_back(cx: &mut Context<'_>, terms: &Terms, note: &Note, run: Interval) -> Outcome<()> {
    let held = pending::holding(cx, terms.subscription, note.message)?;
    if let Some(held) = held.filter(|held| held.owner.is_none() && held.span == run && note.delay_ms.is_none()) {
        let wait = terms.backoff.wait(held.attempt, clock::unit(cx.random));
        cx.run(sql::PENDING_DUE_SET, (terms.subscription.0, run.lo, note.at.plus(wait).get()))?;
    }
    if terms.ordered {
        order::retrying(cx, terms, run, Retry::GivenBack)?;
    }
    cx.wake(terms.queue, terms.subscriptions, 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::clock::{Clock, Liveness, ManualClock, SeededRandom};
    use crate::engine::sending::Sending;
    use crate::engine::settled::Settled;

    #[derive(Debug)]
    struct Alive;

    impl Liveness for Alive {
        fn is_alive(&self, _slot: u32) -> bool {
            true
        }
    }

    #[test]
    fn what_was_sent_counts_as_not_yet_on_disk_where_that_is_promised_and_wakes_receivers() {
        for (semantics, promised) in [(0, false), (1, true), (2, true)] {
            let conn = Connection::open_in_memory().expect("opens");
            crate::storage::schema::migrate(&conn).expect("migrates");
            conn.execute_batch(&format!(
                "INSERT INTO onceward_queue(name, semantics, lease_ms, backoff_first_ms, backoff_factor, backoff_cap_ms, \
                   backoff_jitter, subscriptions, created_at) VALUES ('q', {semantics}, 1, 0, 1.0, 0, 0.0, 1, 0);
                 INSERT INTO onceward_subscription(queue, name, created_at) VALUES (1, 'default', 0);
                 INSERT INTO onceward_send(queue, key, body) VALUES ('q', 'k', x'00');"
            ))
            .expect("sends");
            let (random, settled, sending) = (SeededRandom::new(1), Settled::default(), Sending::default());
            let clock = ManualClock::new(Millis::new(0));
            let mut cx = Context::new(&conn, clock.now(), (&clock, &random, &Alive), 1, &settled, &sending);
            absorb(&mut cx).expect("absorbs");
            assert_eq!((cx.commit.sends, cx.commit.wakes.len()), (promised, 1), "semantics {semantics}");
        }
    }

    #[test]
    fn headers_are_lines_and_all_behind_the_colon_but_one_space_is_the_value() {
        let found = headers("a: 1\nb:2\nc:  3 \nd: e: f\ng:\n");
        let expected = [("a", "1"), ("b", "2"), ("c", " 3 "), ("d", "e: f"), ("g", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.into())).into());
        assert!(headers("").is_empty());
    }
}
