//! What of a subscription's messages could still be delivered: the one read that others may delete by.
//!
//! A message that is finished never becomes unfinished again, so the answer stays true; and it is given only when it is on
//! disk, for a settlement that a power loss takes back would bring the message back.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension};

use crate::engine::context::lane_of;
use crate::engine::operation::{QueueId, SubscriptionId};
use crate::engine::pending::Pending;
use crate::engine::read::{Place, places, snapshot};
use crate::engine::settle::of_another_queue;
use crate::engine::{Engine, sql};
use crate::error::{Error, ErrorKind, Result};
use crate::types::MessageId;

/// What the file says of some messages and a subscription.
enum Standing {
    /// An application's transaction is open on the only connection of a store in memory: nothing is decided yet.
    Undecided,
    Unsubscribed,
    Foreign(MessageId, Option<String>),
    Unfinished(Vec<MessageId>),
}

impl Engine {
    /// Those of the messages that could still be delivered to the subscription. That the others never will is on disk.
    pub(crate) fn unfinished(
        &self,
        queue: QueueId,
        subscription: SubscriptionId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>> {
        match self.read(|conn| standing(conn, queue, subscription, messages))? {
            Standing::Undecided => {
                Err(Error::new(ErrorKind::Busy, "a transaction is open in this store in memory; end it first"))
            }
            Standing::Unsubscribed => Err(Error::not_found("the subscription no longer exists")),
            Standing::Foreign(message, whose) => Err(of_another_queue(message, whose)),
            Standing::Unfinished(found) => {
                if found.len() < messages.len() {
                    self.sync_what_was_read()?;
                }
                Ok(found)
            }
        }
    }

    /// Returns once every commit that a read of this store has seen, whoever made it, is on disk, and the file is still
    /// the one at its path.
    fn sync_what_was_read(&self) -> Result<()> {
        // A number of its own: only a sync that begins from here on covers what other processes committed.
        self.ensure_synced(self.sync.committed())?;
        let writer = self.writer();
        let opened = writer.as_ref().and_then(|writer| writer.opened.as_ref());
        if opened.is_some_and(|opened| !opened.still_attached(self.side())) {
            self.detached.store(true, Ordering::SeqCst);
            return Err(self.detached_error());
        }
        Ok(())
    }
}

fn standing(
    conn: &Connection,
    queue: QueueId,
    subscription: SubscriptionId,
    messages: &[MessageId],
) -> rusqlite::Result<Standing> {
    if !conn.is_autocommit() {
        return Ok(Standing::Undecided);
    }
    snapshot(conn, || {
        let subscribed = conn.prepare_cached(sql::SUBSCRIPTION_DEAD)?.exists([subscription.0])?;
        if !subscribed {
            return Ok(Standing::Unsubscribed);
        }
        let places = places(conn, subscription)?;
        let mut found = Vec::new();
        for &message in messages {
            let place = places.iter().find(|place| place.lane == lane_of(message.stored()));
            if place.is_none()
                && let Some(foreign) = foreign(conn, queue, message)?
            {
                return Ok(foreign);
            }
            if could_come(conn, subscription, place, message.stored())? {
                found.push(message);
            }
        }
        Ok(Standing::Unfinished(found))
    })
}

/// The answer for a message of a lane that the subscription has no cursor in, if the lane is not its queue's.
fn foreign(conn: &Connection, queue: QueueId, message: MessageId) -> rusqlite::Result<Option<Standing>> {
    let of: Option<i64> =
        conn.prepare_cached(sql::LANE_QUEUE)?.query_row([lane_of(message.stored())], |row| row.get(0)).optional()?;
    let whose = match of {
        Some(of) if of == queue.0 => return Ok(None),
        Some(of) => conn.prepare_cached(sql::QUEUE_BY_ID)?.query_row([of], |row| row.get(0)).optional()?,
        None => None,
    };
    Ok(Some(Standing::Foreign(message, whose)))
}

/// Whether a message of the queue is unseen, pending or dead. So is, to be safe, one that was not sent yet.
fn could_come(
    conn: &Connection,
    subscription: SubscriptionId,
    place: Option<&Place>,
    id: i64,
) -> rusqlite::Result<bool> {
    let Some(place) = place.filter(|place| id < place.next) else { return Ok(true) };
    if id >= place.cursor {
        return conn.prepare_cached(sql::MESSAGE_EXISTS)?.exists([id]);
    }
    let before: Option<Pending> =
        conn.prepare_cached(sql::PENDING_AT)?.query_row((subscription.0, id), Pending::read).optional()?;
    if before.is_some_and(|pending| pending.span.contains(id)) {
        return Ok(true);
    }
    conn.prepare_cached(sql::DEAD_GET)?.exists((subscription.0, id))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Semantics, Store};

    #[test]
    fn what_is_said_to_be_finished_is_on_disk_and_the_rest_costs_no_sync() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("app.db")).expect("opens");
        let queue = store.queue("q", Semantics::AtLeastOnce).expect("opens");
        let sent = [queue.send("a").expect("sends").id, queue.send("b").expect("sends").id];
        let delivery = queue.receive(Duration::ZERO).expect("receives").expect("just sent");
        let before = store.engine.sync.synced();
        delivery.ack().expect("acks");
        assert_eq!(store.engine.sync.synced(), before, "an acknowledgement of this queue is not synced");
        assert_eq!(queue.unfinished(&sent[1..]).expect("asks"), sent[1..]);
        assert_eq!(store.engine.sync.synced(), before, "nothing was said to be finished");
        assert_eq!(queue.unfinished(&sent).expect("asks"), sent[1..]);
        assert!(store.engine.sync.synced() > before);
    }
}
