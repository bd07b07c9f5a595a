//! Reading what C passes, and writing what it gets back.
//!
//! The functions here trust exactly what the header asks of a caller: texts end with NUL, arrays have as many items as was
//! said, outputs have room, and all of it stays as it is during the call.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::time::Duration;

use crate::status::{Failure, Outcome};

/// Reads a text: UTF-8, ended by NUL.
///
/// # Safety
/// `pointer` is NULL or such a text, for as long as `'a`.
pub(crate) unsafe fn text<'a>(what: &str, pointer: *const c_char) -> Outcome<&'a str> {
    // SAFETY: the caller's.
    unsafe { text_or_none(what, pointer) }?.ok_or_else(|| Failure::invalid(format!("{what} is NULL")))
}

/// Reads a text that may be left out.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn text_or_none<'a>(what: &str, pointer: *const c_char) -> Outcome<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str();
    text.map(Some).map_err(|error| {
        let text = error.valid_up_to();
        Failure::invalid(format!("{what} is not UTF-8: its byte {text} is wrong"))
    })
}

/// Refuses NULL.
pub(crate) fn filled<T>(what: &str, pointer: *const T) -> Outcome {
    if pointer.is_null() { Err(Failure::invalid(format!("{what} is NULL"))) } else { Ok(()) }
}

/// Reads an array. NULL is one of no items.
///
/// # Safety
/// `pointer` is NULL or points to `count` items, for as long as `'a`.
pub(crate) unsafe fn items<'a, T>(what: &str, pointer: *const T, count: usize) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL, and {count} are announced")));
    }
    if !pointer.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::invalid(format!("{what} cannot be an array of {count}")));
    }
    // SAFETY: the caller's; alignment and size were checked.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// A structure of options that starts with its own size, so that older programs work with newer libraries.
pub(crate) trait Options: Copy {
    /// The structure's name in the header.
    const NAME: &'static str;
    /// The structure with nothing set.
    fn unset() -> Self;
}

/// Reads a structure of options. NULL is one with nothing set; a shorter one leaves what it has no room for unset.
///
/// # Safety
/// `pointer` is NULL, or points to a `size_t` that says how many bytes can be read there; they are a `T`, or a part of one.
pub(crate) unsafe fn options<T: Options>(pointer: *const T) -> Outcome<T> {
    let mut options = T::unset();
    if pointer.is_null() {
        return Ok(options);
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid(format!("the {} stands at no address for one", T::NAME)));
    }
    // SAFETY: the caller's: the structure starts with its size.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < size_of::<usize>() || size > size_of::<T>() {
        return Err(Failure::invalid(format!(
            "the size of the {} is {size}; it takes {} to {}: set it with sizeof, and do not use a newer header",
            T::NAME,
            size_of::<usize>(),
            size_of::<T>()
        )));
    }
    // SAFETY: `size` bytes can be read, the caller says, and there is room for them; a `T` holds numbers and pointers only.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut options).cast::<u8>(), size) };
    Ok(options)
}

/// Reads an option of milliseconds: 0 is not set.
pub(crate) fn duration(what: &str, millis: i64) -> Outcome<Option<Duration>> {
    match millis {
        0 => Ok(None),
        millis => wait(what, millis).map(Some),
    }
}

/// Reads a number of milliseconds.
pub(crate) fn wait(what: &str, millis: i64) -> Outcome<Duration> {
    u64::try_from(millis)
        .map(Duration::from_millis)
        .map_err(|_| Failure::invalid(format!("{what} is {millis} ms; it takes no negative one")))
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// NULL is nowhere.
pub(crate) fn or_nowhere<T, P>(pointer: *mut T, place: impl FnOnce(*mut T) -> Outcome<P>) -> Outcome<Option<P>> {
    if pointer.is_null() { Ok(None) } else { place(pointer).map(Some) }
}

fn null_output(what: &str) -> Failure {
    Failure::invalid(format!("the output {what} is NULL"))
}

/// Where a handle goes.
pub(crate) struct Out<'a, T>(Place<'a, *mut T>);

impl<T> Out<'_, T> {
    /// Sets it to NULL, so that a call that fails leaves nothing to be freed.
    ///
    /// # Safety
    /// `pointer` is NULL or has room for a handle, until the call is over.
    pub(crate) unsafe fn new(what: &str, pointer: *mut *mut T) -> Outcome<Self> {
        // SAFETY: the caller's.
        let place = unsafe { Place::new(what, pointer) }?;
        place.set(std::ptr::null_mut());
        Ok(Out(place))
    }

    pub(crate) fn set(&self, pointer: *mut T) {
        self.0.set(pointer);
    }
}

/// Where a value goes. Like all of these places it is made, and so checked, before a call does anything: what is refused for the
/// sake of an output has not been done.
pub(crate) struct Place<'a, T>(*mut T, PhantomData<&'a mut T>);

impl<T> Place<'_, T> {
    /// # Safety
    /// `pointer` is NULL or has room for a `T`, until the call is over.
    pub(crate) unsafe fn new(what: &str, pointer: *mut T) -> Outcome<Self> {
        if pointer.is_null() {
            return Err(null_output(what));
        }
        if !pointer.is_aligned() {
            return Err(Failure::invalid(format!("the output {what} stands at no address for one")));
        }
        Ok(Place(pointer, PhantomData))
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: there is room, says who made it; what C left there needs no destructor.
        unsafe { self.0.write(value) };
    }
}

/// Where the items of a list go.
pub(crate) struct Places<'a, T> {
    first: *mut T,
    room: usize,
    call: PhantomData<&'a mut T>,
}

impl<T: Copy> Places<'_, T> {
    /// Of no items, NULL will do.
    ///
    /// # Safety
    /// `pointer` is NULL or has room for `room` items, until the call is over.
    pub(crate) unsafe fn new(what: &str, pointer: *mut T, room: usize) -> Outcome<Self> {
        if room > 0 {
            // SAFETY: the caller's: there is room for one at least.
            unsafe { Place::new(what, pointer) }?;
        }
        Ok(Places { first: pointer, room, call: PhantomData })
    }

    /// Writes as many of the items as there is room for.
    pub(crate) fn set(&self, items: impl IntoIterator<Item = T>) {
        for (index, item) in items.into_iter().take(self.room).enumerate() {
            // SAFETY: `index` is below the room that there is, says who made it, and the first one is aligned.
            unsafe { self.first.add(index).write(item) };
        }
    }
}

/// Where a structure goes, as far as the caller's header knows it: of a shorter one, its first part is written.
pub(crate) struct View<'a, T>(*mut T, usize, PhantomData<&'a mut T>);

impl<T: Copy> View<'_, T> {
    /// # Safety
    /// `pointer` is NULL or has room for `size` bytes, until the call is over.
    pub(crate) unsafe fn new(what: &str, pointer: *mut T, size: usize) -> Outcome<Self> {
        if pointer.is_null() {
            return Err(null_output(what));
        }
        if size == 0 || size > size_of::<T>() {
            return Err(Failure::invalid(format!(
                "the size of the output {what} is {size}; it takes 1 to {}: give its sizeof, and do not use a newer header",
                size_of::<T>()
            )));
        }
        Ok(View(pointer, size, PhantomData))
    }

    pub(crate) fn set(&self, value: &T) {
        let (from, to) = (std::ptr::from_ref(value).cast::<u8>(), self.0.cast::<u8>());
        // SAFETY: there is room for as many bytes, says who made it, and `value` has as many.
        unsafe { std::ptr::copy_nonoverlapping(from, to, self.1) };
    }
}

/// The item at `index` of a list.
pub(crate) fn at<T>(list: &[T], index: usize) -> Outcome<&T> {
    list.get(index).ok_or_else(|| {
        Failure::invalid(format!("there is no item {index}: the list has {}, counted from 0", list.len()))
    })
}

/// Refuses a list that there is too little room for.
pub(crate) fn fits(what: &str, count: usize, room: usize) -> Outcome {
    if count > room { Err(Failure::invalid(format!("there are {count} {what}, and room for {room}"))) } else { Ok(()) }
}

/// Where a text and its NUL go.
pub(crate) struct TextPlace<'a>(Places<'a, u8>);

impl TextPlace<'_> {
    /// # Safety
    /// `pointer` is NULL or has room for `room` bytes, until the call is over.
    pub(crate) unsafe fn new(what: &str, pointer: *mut c_char, room: usize) -> Outcome<Self> {
        if pointer.is_null() {
            return Err(null_output(what));
        }
        // SAFETY: the caller's.
        unsafe { Places::new(what, pointer.cast::<u8>(), room) }.map(TextPlace)
    }

    pub(crate) fn set(&self, text: &str) -> Outcome {
        fits("bytes", text.len() + 1, self.0.room)?;
        self.0.set(text.bytes().chain([0]));
        Ok(())
    }
}
