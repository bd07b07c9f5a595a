//! Lists: names, messages, dead letters.

use std::ffi::{CString, c_char};

use onceward::DeadLetter;

use crate::border::{View, at};
use crate::handles::{self, Handle};
use crate::message::{Content, onceward_message_view};
use crate::status::{guard, run, text};

/// A list of names.
pub struct onceward_names {
    names: Vec<CString>,
}

impl Handle for onceward_names {
    const KIND: &'static str = "onceward_names";
}

impl onceward_names {
    pub(crate) fn new(names: Vec<String>) -> Self {
        onceward_names { names: names.into_iter().map(text).collect() }
    }
}

/// How many a list has, as a number; 0 for what is no list.
fn count<T: Handle>(list: *const T, of: impl Fn(&T) -> usize) -> usize {
    let mut count = 0;
    guard(|| {
        count = of(&*handles::get(list)?);
        Ok(0)
    });
    count
}

/// How many names there are; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_names_count(names: *const onceward_names) -> usize {
    count(names, |names| names.names.len())
}

/// The name at `index`, counted from 0; NULL past the end. It lives as long as the list.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_names_get(names: *const onceward_names, index: usize) -> *const c_char {
    let mut name = std::ptr::null();
    run(|| {
        name = at(&handles::get(names)?.names, index)?.as_ptr();
        Ok(())
    });
    name
}

/// Frees the list; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_names_free(names: *mut onceward_names) {
    handles::free(names);
}

/// A list of messages that were looked at without taking them.
pub struct onceward_messages {
    messages: Vec<Content>,
}

impl Handle for onceward_messages {
    const KIND: &'static str = "onceward_messages";
}

impl onceward_messages {
    pub(crate) fn new(messages: Vec<onceward::Peeked>) -> Self {
        onceward_messages { messages: messages.into_iter().map(Content::of_peeked).collect() }
    }
}

/// How many messages there are; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_messages_count(messages: *const onceward_messages) -> usize {
    count(messages, |messages| messages.messages.len())
}

/// The message at `index`, counted from 0, into `*view`, whose pointers live as long as the list. `view_size` is
/// sizeof(onceward_message_view). ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_messages_get(
    messages: *const onceward_messages,
    index: usize,
    view: *mut onceward_message_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(at(&handles::get(messages)?.messages, index)?.view());
        Ok(())
    })
}

/// Frees the list; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_messages_free(messages: *mut onceward_messages) {
    handles::free(messages);
}

struct Letter {
    message: Content,
    reason: CString,
    error: Option<CString>,
    died_at_ms: i64,
}

/// A list of dead letters.
pub struct onceward_dead_letters {
    letters: Vec<Letter>,
}

impl Handle for onceward_dead_letters {
    const KIND: &'static str = "onceward_dead_letters";
}

impl onceward_dead_letters {
    pub(crate) fn new(letters: Vec<DeadLetter>) -> Self {
        let letter = |letter: DeadLetter| Letter {
            message: Content::of_peeked(letter.message),
            reason: text(letter.reason),
            error: letter.error.map(text),
            died_at_ms: letter.died_at.get(),
        };
        onceward_dead_letters { letters: letters.into_iter().map(letter).collect() }
    }
}

/// A message that is not delivered any more, and why. The pointers live as long as the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_dead_letter_view {
    /// Why it is dead: UTF-8, ended by NUL.
    pub reason: *const c_char,
    /// The error text of its last nack, or NULL.
    pub error: *const c_char,
    /// When it died, in milliseconds since 1970.
    pub died_at_ms: i64,
}

/// How many dead letters there are; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_dead_letters_count(letters: *const onceward_dead_letters) -> usize {
    count(letters, |letters| letters.letters.len())
}

/// The message of the dead letter at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_message_view).
/// ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_dead_letters_get(
    letters: *const onceward_dead_letters,
    index: usize,
    view: *mut onceward_message_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(at(&handles::get(letters)?.letters, index)?.message.view());
        Ok(())
    })
}

/// Why the message at `index` is dead, into `*why`. `why_size` is sizeof(onceward_dead_letter_view). ONCEWARD_INVALID past
/// the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_dead_letters_why(
    letters: *const onceward_dead_letters,
    index: usize,
    why: *mut onceward_dead_letter_view,
    why_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let why = unsafe { View::new("why", why, why_size) }?;
        let letters = handles::get(letters)?;
        let letter = at(&letters.letters, index)?;
        why.set(&onceward_dead_letter_view {
            reason: letter.reason.as_ptr(),
            error: letter.error.as_ref().map_or(std::ptr::null(), |error| error.as_ptr()),
            died_at_ms: letter.died_at_ms,
        });
        Ok(())
    })
}

/// Frees the list; NULL is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_dead_letters_free(letters: *mut onceward_dead_letters) {
    handles::free(letters);
}
