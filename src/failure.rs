//! How an error with its causes reads in one line.

/// An error with all its causes in one line; hints stay on lines of their own.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            match text.find("\nhint: ") {
                Some(hint) => text.insert_str(hint, &format!(": {cause_text}")),
                None => text.extend([": ", &cause_text]),
            }
        }
        source = cause.source();
    }
    text
}
