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

/// Where a handle goes.
pub(crate) struct Out<'a, T>(Place<'a, *mut T>);

impl<T> Out<'_, T> {
    /// Sets it to NULL, so that a call that fails leaves nothing to be freed.
    ///
    /// # Safety
    /// `pointer` is NULL or has room for a handle, until the call is over.
    pub(crate) unsafe fn new(pointer: *mut *mut T) -> Outcome<Self> {
        // SAFETY: the caller's.
        let place = unsafe { Place::new(pointer) }?;
        place.set(std::ptr::null_mut());
        Ok(Out(place))
    }

    pub(crate) fn set(&self, pointer: *mut T) {
        self.0.set(pointer);
    }
}

/// Where a value goes.
pub(crate) struct Place<'a, T>(*mut T, PhantomData<&'a mut T>);

impl<T> Place<'_, T> {
    /// # Safety
    /// `pointer` is NULL or has room for a `T`, until the call is over.
    pub(crate) unsafe fn new(pointer: *mut T) -> Outcome<Self> {
        if pointer.is_null() || !pointer.is_aligned() {
            return Err(Failure::invalid("an output is NULL, or stands at no address for one"));
        }
        Ok(Place(pointer, PhantomData))
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: there is room, says who made it; what C left there needs no destructor.
        unsafe { self.0.write(value) };
    }
}

/// Where a structure goes, as far as the caller's header knows it: of a shorter one, its first part is written.
///
/// # Safety
/// `pointer` is NULL or has room for `size` bytes.
pub(crate) unsafe fn put<T: Copy>(what: &str, value: &T, pointer: *mut T, size: usize) -> Outcome {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("the {what} is NULL")));
    }
    if size == 0 || size > size_of::<T>() {
        return Err(Failure::invalid(format!(
            "the size of the {what} is {size}; it takes 1 to {}: give its sizeof, and do not use a newer header",
            size_of::<T>()
        )));
    }
    // SAFETY: there is room for `size` bytes, says the caller, and `value` has as many.
    unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(value).cast::<u8>(), pointer.cast::<u8>(), size) };
    Ok(())
}

/// The item at `index` of a list.
pub(crate) fn at<T>(list: &[T], index: usize) -> Outcome<&T> {
    list.get(index).ok_or_else(|| {
        Failure::invalid(format!("there is no item {index}: the list has {}, counted from 0", list.len()))
    })
}

/// Writes the items of a list to an array.
///
/// # Safety
/// `pointer` has room for `room` items.
pub(crate) unsafe fn put_items<T: Copy>(what: &str, items: &[T], pointer: *mut T, room: usize) -> Outcome {
    if items.len() > room {
        return Err(Failure::invalid(format!("there are {} {what}, and room for {room}", items.len())));
    }
    for (index, item) in items.iter().enumerate() {
        // SAFETY: the caller's: `index` is below `room`.
        unsafe { Place::new(pointer.wrapping_add(index)) }?.set(*item);
    }
    Ok(())
}

/// Writes a text and its NUL.
///
/// # Safety
/// `pointer` is NULL or has room for `room` bytes.
pub(crate) unsafe fn put_text(what: &str, text: &str, pointer: *mut c_char, room: usize) -> Outcome {
    filled(&format!("the {what}"), pointer)?;
    let bytes: Vec<u8> = text.bytes().chain([0]).collect();
    // SAFETY: the caller's.
    unsafe { put_items("bytes", &bytes, pointer.cast::<u8>(), room) }
}
