//! Which functions of the public API were called, by the name of their type.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static CALLED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

pub(crate) fn called(function: &'static str) {
    CALLED.lock().unwrap_or_else(PoisonError::into_inner).insert(function);
}

pub(crate) fn all() -> BTreeSet<&'static str> {
    CALLED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Calls a function of the public API, and remembers that it did.
macro_rules! api {
    ($owner:ident :: $name:ident ( $($argument:expr),* $(,)? )) => {{
        $crate::record::called(concat!(stringify!($owner), "::", stringify!($name)));
        $owner::$name($($argument),*)
    }};
}

/// Calls what queues and subscriptions have in common.
macro_rules! on {
    ($receiver:expr, $name:ident ( $($argument:expr),* )) => {
        match $receiver {
            Receiver::Queue(one) => {
                $crate::record::called(concat!("Queue::", stringify!($name)));
                onceward::Queue::$name(one, $($argument),*)
            }
            Receiver::Subscription(one) => {
                $crate::record::called(concat!("Subscription::", stringify!($name)));
                onceward::Subscription::$name(one, $($argument),*)
            }
        }
    };
}

/// The same, awaited.
macro_rules! on_await {
    ($receiver:expr, $name:ident ( $($argument:expr),* )) => {
        match $receiver {
            Receiver::Queue(one) => {
                $crate::record::called(concat!("Queue::", stringify!($name)));
                onceward::Queue::$name(one, $($argument),*).await
            }
            Receiver::Subscription(one) => {
                $crate::record::called(concat!("Subscription::", stringify!($name)));
                onceward::Subscription::$name(one, $($argument),*).await
            }
        }
    };
}
