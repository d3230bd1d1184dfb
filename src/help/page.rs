//! How a generated page looks: a title, headings, and words with their explanation below.

/// Widest line of a generated page, in characters.
const WIDTH: usize = 100;

/// Indent of an explanation below its word.
const INDENT: &str = "    ";

/// A page on its way.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    /// A heading.
    pub(super) fn heading(&mut self, heading: &str) {
        self.0.extend(["\n", heading, "\n"]);
    }

    /// A paragraph at the left margin.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push('\n');
        wrapped(&mut self.0, "", text);
    }

    /// A word with its explanation: a paragraph for each text, indented.
    pub(super) fn entry(&mut self, word: &str, texts: &[&str]) {
        self.0.extend(["\n  ", word, "\n"]);
        for text in texts {
            wrapped(&mut self.0, INDENT, text);
        }
    }

    /// Lines as they stand.
    pub(super) fn lines(&mut self, lines: &str) {
        self.0.push('\n');
        self.0.push_str(lines);
        self.0.push('\n');
    }

    pub(super) fn end(self) -> String {
        self.0.trim_end().to_owned()
    }
}

/// Appends `text`, broken between words so that no line is wider than [`WIDTH`].
fn wrapped(page: &mut String, indent: &str, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            page.push('\n');
            width = 0;
        }
        page.push_str(if width == 0 { indent } else { " " });
        page.push_str(word);
        width += length + if width == 0 { indent.len() } else { 1 };
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_between_words_and_loses_none() {
        let text = "word ".repeat(60);
        let mut page = Page::new("title");
        page.entry("entry", &[&text]);
        let page = page.end();
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        assert_eq!(page.matches("word").count(), 60);
    }
}
