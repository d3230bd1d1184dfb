//! What keeps secrets inside when the process goes wrong: no core dump, no reader of its memory, no payload of a panic.

use crate::failure::with_hint;
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;

/// Lets nothing of this process's memory get out by itself: call it before anything secret is read.
///
/// No core file, only root reads `/proc/PID/environ` or `/proc/PID/mem`, and a panic says where it happened and
/// not with what. A system that forbids it is no reason not to work.
pub fn keep() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, setrlimit};
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    }
    // The limit above isn't asked where core dumps are handed to a program; this is.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
    std::panic::set_hook(Box::new(|panic| {
        // A closed stderr is no reason to abort.
        let _ = writeln!(io::stderr().lock(), "{}", words(panic));
    }));
}

/// A panic for people: where, and its message only if it is a literal of the program.
///
/// A message that was put together may quote what it was about: `unwrap` shows the error, a slice shows the text.
fn words(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>();
    let message = message.unwrap_or(&"its message is not shown, because it may hold a secret");
    let hint =
        "what was received is in the journal, and the next start goes on from there; please report the place";
    with_hint(format!("evergrant: a bug: panic at {place} ({message})"), Some(hint))
}
