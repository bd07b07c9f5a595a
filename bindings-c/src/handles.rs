//! The table of living handles.
//!
//! A handle is the address of a reference-counted object. Every call looks it up here before it touches it, and holds it
//! while it runs; so a handle that is NULL, freed, or of another type is an error and never a crash, and one that another
//! thread frees meanwhile lives until the call is done.
//!
//! Invariants: an address is in the table from `give` until it is freed, under its type, and the table owns one
//! reference to it. Nothing of the core is called and nothing is freed under the table's locks. They are held over a fork.

use std::any::TypeId;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;

use crate::border::Out;
use crate::status::{Failure, Outcome};

const SHARDS: usize = 16;

/// What each handle type is called in errors.
pub trait Handle: Send + Sync + 'static {
    /// The name of the type in the header.
    const KIND: &'static str;
}

/// What stands behind a handle.
struct Kind {
    of: TypeId,
    name: &'static str,
}

/// By address, inverted: a table of plain addresses would hide forgotten handles from leak checkers.
type Shard = HashMap<usize, Kind, FixedState>;

struct Table([Mutex<Shard>; SHARDS]);

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // SAFETY: the three functions are what pthread_atfork takes, and are there as long as the process.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork)) };
    Table(std::array::from_fn(|_| Mutex::default()))
});

impl Table {
    fn shard(&self, address: usize) -> MutexGuard<'_, Shard> {
        // The low bits are those of the alignment.
        self.0[(address >> 5) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OverFork(UnsafeCell<Vec<MutexGuard<'static, Shard>>>);

// SAFETY: touched by the fork handlers alone, which the C library runs one fork at a time.
unsafe impl Sync for OverFork {}

static OVER_FORK: OverFork = OverFork(UnsafeCell::new(Vec::new()));

extern "C" fn before_fork() {
    let guards: Vec<_> = TABLE.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner)).collect();
    // SAFETY: see `OverFork`: nobody else touches it between here and `after_fork`.
    unsafe { *OVER_FORK.0.get() = guards };
}

extern "C" fn after_fork() {
    // SAFETY: as in `before_fork`; the thread that runs this, in the parent and in the child, is the one that locked.
    unsafe { (*OVER_FORK.0.get()).clear() };
}

/// Hands an object to C. It is C's until it is freed.
pub(crate) fn give<T: Handle>(object: T, out: &Out<'_, T>) {
    let pointer = Arc::into_raw(Arc::new(object));
    TABLE.shard(pointer as usize).insert(!(pointer as usize), Kind { of: TypeId::of::<T>(), name: T::KIND });
    out.set(pointer.cast_mut());
}

/// The object of a handle, held for a call.
pub(crate) fn get<T: Handle>(pointer: *const T) -> Outcome<Arc<T>> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("the {} is NULL", T::KIND)));
    }
    let shard = TABLE.shard(pointer as usize);
    match shard.get(&!(pointer as usize)) {
        Some(kind) if kind.of == TypeId::of::<T>() => {
            // SAFETY: the table owns a reference to what stands in it, which is a `T`, and its lock is held.
            unsafe {
                Arc::increment_strong_count(pointer);
                Ok(Arc::from_raw(pointer))
            }
        }
        Some(kind) => Err(Failure::invalid(format!("the handle is an {}, where an {} is wanted", kind.name, T::KIND))),
        None => Err(Failure::invalid(format!("the {} is none: it was freed, or never was one", T::KIND))),
    }
}

/// Takes a handle back. Anything but a living one of this type is left alone.
pub(crate) fn free<T: Handle>(pointer: *mut T) {
    let address = pointer as usize;
    let known = match TABLE.shard(address).entry(!address) {
        Entry::Occupied(entry) if entry.get().of == TypeId::of::<T>() => {
            entry.remove();
            true
        }
        _ => false,
    };
    if known {
        // SAFETY: the table's reference, which nobody else can take now. A panic of a destructor stops here.
        let object = unsafe { Arc::from_raw(pointer.cast_const()) };
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(object)));
    }
}
