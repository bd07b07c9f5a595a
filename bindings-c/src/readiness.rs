//! A descriptor for event loops.

use std::os::fd::AsRawFd;

use onceward::Readiness;

use crate::border::{Out, Place};
use crate::handles::{self, Handle};
use crate::status::run;
use crate::subscription::onceward_subscription;

/// A descriptor that is readable while a subscription may have something to receive: for poll, epoll and event loops built on
/// them, instead of a thread that waits in a receive.
pub struct onceward_readiness {
    readiness: Readiness,
}

impl Handle for onceward_readiness {
    const KIND: &'static str = "onceward_readiness";
}

/// Makes a descriptor for this subscription. It becomes readable for whatever a waiting receive would wake for, from any process:
/// messages sent, delays and retries whose time has come, leases that ended, holders that died, a queue that was resumed. Also when
/// the store is closed, or the file or the subscription can no longer be used: the next receive says so.
///
/// It stays readable until onceward_readiness_clear finds nothing there. So wait until it is readable, receive until
/// ONCEWARD_EMPTY, clear, and wait again: nothing that comes in between is missed. It may be readable for nothing, when another
/// receiver came first; then the receive says ONCEWARD_EMPTY.
///
/// `*readiness` is yours: free it with onceward_readiness_free. Any number may be made; each costs a descriptor, and all of a store
/// share one thread. ONCEWARD_STORAGE when the process can open no more files or start no more threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_readiness_open(
    subscription: *const onceward_subscription,
    readiness: *mut *mut onceward_readiness,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("readiness", readiness) }?;
        let readiness = handles::get(subscription)?.subscription.readiness()?;
        handles::give(onceward_readiness { readiness }, &out);
        Ok(())
    })
}

/// The number of the descriptor, into `*descriptor`; -1 when the call fails. Wait for POLLIN (EPOLLIN). It is the handle's, open as
/// long as the handle lives: do not close it, read from it or write to it.
///
/// ONCEWARD_INVALID for what is no living handle, and no other error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_readiness_descriptor(
    readiness: *const onceward_readiness,
    descriptor: *mut i32,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Place::new("descriptor", descriptor) }?;
        out.set(-1);
        out.set(handles::get(readiness)?.readiness.as_raw_fd());
        Ok(())
    })
}

/// Makes the descriptor unreadable if there is nothing to receive; it becomes readable again as soon as there may be. Call it when a
/// receive brought nothing, before waiting again. Nothing is received and nothing is lost by it.
///
/// ONCEWARD_CLOSED when the store is closed; then, and after every other error, the descriptor stays readable. In a forked child
/// ONCEWARD_CLOSED, and the parent's descriptor stays as it is.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_readiness_clear(readiness: *const onceward_readiness) -> i32 {
    run(|| Ok(handles::get(readiness)?.readiness.clear()?))
}

/// Frees the handle and closes its descriptor; NULL is left alone. Take the descriptor out of your event loop first: its number may
/// soon be another file's.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_readiness_free(readiness: *mut onceward_readiness) {
    handles::free(readiness);
}
