//! A descriptor that event loops wait on instead of a thread that sleeps in a receive.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use crate::engine::watcher::Watched;
use crate::error::Result;
use crate::subscription::Subscription;

/// A descriptor that is readable while its subscription may have something to receive, for `poll`, `epoll` and event loops
/// built on them. Made by [`Subscription::readiness`].
///
/// It becomes readable for whatever a waiting [`receive`](Subscription::receive) would wake for: messages sent by any process
/// or through SQL, delays and retries whose time has come, leases that ended, holders that died, a queue that was resumed.
/// Also when the store is closed, or the file or the subscription can no longer be used: then the next receive says so.
///
/// It stays readable until [`clear`](Readiness::clear) finds nothing there. So a loop waits until it is readable, receives
/// until nothing comes, and clears; nothing that comes in between is missed. It may be readable for nothing: another receiver
/// came first, or what is there cannot be delivered yet. Messages are found within the same time as by a waiting receive.
///
/// Do not read from the descriptor or write to it. It belongs to the process that made it: in a forked child `clear` fails
/// with `Closed`. Any number may be made; each costs a descriptor, and all of a store share one thread.
///
/// ```
/// use onceward::{Semantics, Store};
/// use std::os::fd::AsFd;
/// use std::time::Duration;
///
/// let store = Store::open(":memory:")?;
/// let jobs = store.queue("jobs", Semantics::AtLeastOnce)?;
/// let incoming = jobs.subscription("default")?;
/// let readiness = incoming.readiness()?;
/// let descriptor = readiness.as_fd(); // for the event loop; whenever it is readable:
/// while let Some(delivery) = incoming.receive(Duration::ZERO)? {
///     delivery.ack()?;
/// }
/// readiness.clear()?;
/// # let _ = descriptor;
/// # Ok::<(), onceward::Error>(())
/// ```
pub struct Readiness {
    subscription: Subscription,
    watched: Arc<Watched>,
}

impl Readiness {
    pub(crate) fn new(subscription: Subscription) -> Result<Self> {
        let watched = Arc::new(Watched::new(subscription.queue().id, subscription.id())?);
        let readiness = Readiness { subscription, watched };
        readiness.clear()?;
        Ok(readiness)
    }

    /// Makes the descriptor unreadable if there is nothing to receive; it becomes readable again as soon as there may be.
    /// Call it when a receive brought nothing, before waiting for the descriptor again.
    ///
    /// # Errors
    /// `Closed` when the store is closed; then, and after every other error, the descriptor stays readable. In a forked
    /// child nothing is touched.
    pub fn clear(&self) -> Result<()> {
        self.subscription.queue().engine.arm(&self.watched)
    }

    /// The subscription.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.subscription.queue().engine.disarm(&self.watched);
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.event.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("subscription", &self.subscription).finish_non_exhaustive()
    }
}
