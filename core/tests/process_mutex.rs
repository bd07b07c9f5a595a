//! The mutex in which the modules of other languages keep their handles: it knows of forks, and of panics it takes no notice.

mod common;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use onceward::{ErrorKind, ProcessMutex, Store};
use process::{Helper, role, say};

/// Not a test of its own: what the helper process runs.
#[test]
fn helper() {
    let Some((role, path)) = role() else { return };
    match role.as_str() {
        "fork" => fork_and_lock(&path),
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn a_panic_while_it_is_held_leaves_it_usable() {
    let mutex = Arc::new(ProcessMutex::new(0));
    let theirs = Arc::clone(&mutex);
    let panics = move || {
        let mut held = theirs.lock().expect("locks");
        *held = 7;
        panic!("while it is held");
    };
    assert!(thread::spawn(panics).join().is_err());
    assert_eq!(mutex.try_lock().as_deref(), Some(&7));
    assert_eq!(*mutex.lock().expect("is not poisoned"), 7);
}

#[test]
fn who_tries_does_not_wait() {
    let mutex = ProcessMutex::new("a handle");
    let held = mutex.lock().expect("locks");
    assert!(mutex.try_lock().is_none());
    assert!(mutex.check_process().is_ok(), "which is not asked for the lock");
    drop(held);
    assert_eq!(mutex.try_lock().as_deref(), Some(&"a handle"));
}

#[test]
fn in_a_forked_child_it_refuses_though_its_holder_is_not_there() {
    let folder = common::folder();
    let mut helper = Helper::start("fork", &folder.path().join("app.db"));
    helper.expect("the child ended with 0");
    helper.expect("the parent goes on");
    assert!(helper.wait());
}

/// Forks while another thread holds one of two.
#[allow(unsafe_code, reason = "forking is what is tested")]
fn fork_and_lock(path: &Path) {
    // The first store of a process begins to count its forks.
    let _store = Store::open(path).expect("opens");
    let (held, free) = (Arc::new(ProcessMutex::new(1)), ProcessMutex::new(2));
    let (holds, is_held) = std::sync::mpsc::channel();
    let (ends, end) = std::sync::mpsc::channel::<()>();
    let theirs = Arc::clone(&held);
    let holder = thread::spawn(move || {
        let guard = theirs.lock().expect("locks");
        holds.send(()).expect("the test waits for it");
        end.recv().expect("the test lets it go");
        drop(guard);
    });
    is_held.recv().expect("it is held");
    // SAFETY: the child only makes calls that must answer, and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: a child that waits, which it must not, is ended.
        unsafe { libc::alarm(common::PATIENCE.as_secs() as u32) };
        let kinds = [&*held, &free].map(|mutex| {
            let locked = mutex.lock().map(|_| ()).map_err(|error| error.kind());
            (locked, mutex.check_process().map_err(|error| error.kind()))
        });
        let refused = kinds.iter().all(|kinds| *kinds == (Err(ErrorKind::Closed), Err(ErrorKind::Closed)));
        let waits = held.try_lock().is_some();
        let open = free.try_lock().as_deref() == Some(&2);
        let code = i32::from(!refused) | i32::from(waits) << 1 | i32::from(!open) << 2;
        // SAFETY: ends the child without running the parent's clean-up.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the call, and the child is ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(waited == child && libc::WIFEXITED(status), "the child waited: {status}");
    say(&format!("the child ended with {}", libc::WEXITSTATUS(status)));
    ends.send(()).expect("it waits");
    holder.join().expect("ends");
    assert_eq!((*held.lock().expect("locks"), *free.lock().expect("locks")), (1, 2));
    say("the parent goes on");
}
