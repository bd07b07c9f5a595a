//! What waits more than it works, done several at a time. The tests of the C library use it as well.

use std::sync::Mutex;

const AT_ONCE: usize = 4;

/// Does something with each item. It panics when one of them does.
pub(crate) fn several_at_once<T, R: Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    run: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let rest = Mutex::new(items.into_iter());
    let take = || rest.lock().expect("taking does not panic").next();
    std::thread::scope(|scope| {
        let work = || std::iter::from_fn(take).map(&run).collect::<Vec<R>>();
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("one of them panicked")).collect()
    })
}
