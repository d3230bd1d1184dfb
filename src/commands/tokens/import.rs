//! `evergrant tokens import`: a stream of documents into the embedded store, a chunk at a time.

use super::only_embedded;
use crate::cli::InputFormat;
use crate::commands::{CommandError, Surroundings, shown};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::{error_chain, with_hint};
use crate::store::Store as _;
use crate::store::import::{ImportError, ImportFormat, malformed, read_documents};
use crate::store::mapping::Mapping;
use crate::store::sqlite::{ImportSummary, SqliteStore};
use crate::token::Malformed;
use beside::Beside;
use serde::Serialize;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::path::Path;
use std::rc::Rc;
use tokio::sync::mpsc;
use tracing::{info, warn};

mod beside;

/// Most documents in one chunk, which is one transaction: enough that its fsync doesn't count.
const CHUNK_DOCUMENTS: usize = 1000;

/// A chunk ends when this many bytes were read for it, so that large documents don't fill the memory.
const CHUNK_BYTES: u64 = 4 << 20;

/// Chunks that may wait while one is written: the next one. More would only be memory.
const CHUNKS_WAITING: usize = 1;

/// Malformed documents that are named with their line; the others are counted.
const MOST_NAMED: usize = 5;

/// What `tokens import --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The store that has the documents now.
    pub store: String,
    /// Documents that weren't there.
    pub inserted: u64,
    /// Documents that were there, by `_id`: their fields are the new ones.
    pub replaced: u64,
    /// Documents that were there with a newer pair: it stays, and their other fields are the new ones.
    pub kept: u64,
    /// Of those inserted: documents that came without `_id` and were given one.
    pub generated_ids: u64,
    /// Documents whose refresh token can't be sent. They are imported all the same.
    pub malformed: MalformedDocuments,
}

/// Documents whose refresh token can't be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MalformedDocuments {
    /// How many.
    pub count: u64,
    /// How many for which reason: `missing`, `null`, `empty`, `not_text`, `too_long`, `forbidden_character`.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub first: Vec<MalformedDocument>,
}

/// A document whose refresh token can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MalformedDocument {
    /// Where it begins in the file, counted from 1.
    pub line: u64,
    /// What is wrong, in words; never the value.
    pub problem: String,
}

/// Imports a file, or stdin for `-`; prints what came of it.
pub(super) async fn run(
    file: &Path,
    input: Option<InputFormat>,
    overwrite: bool,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let instead = "write the documents into that database, with `mongoimport` or your application: Evergrant takes \
                   them as they are; or name another store with `--set store.url=sqlite:PATH`";
    let path = only_embedded(config, "tokens import", instead)?;
    let from_stdin = file == Path::new("-");
    let shown = if from_stdin { "stdin".to_owned() } else { file.display().to_string() };
    let format = input.map(ImportFormat::from).or_else(|| ImportFormat::of_path(file));
    // The file first: a wrong name shall not make a store.
    let source = if from_stdin { Source::Stdin } else { Source::File(open(file, &shown)?) };
    let beside = Beside::new(config, overwrite, surroundings).await?;
    let store = SqliteStore::open(path, config.store.mapping.clone()).await?;
    if from_stdin && io::stdin().is_terminal() {
        info!("reading documents from the terminal; Ctrl-D ends them");
    }
    let (mut summary, mut malformed) = (ImportSummary::default(), MalformedDocuments::default());
    let mut chunks = read(source, format, config.store.mapping.clone())?;
    while let Some(chunk) = chunks.recv().await {
        let end = write(&store, chunk, &beside, &mut summary, &mut malformed).await;
        if end.is_err() && summary != ImportSummary::default() {
            warn!("{} were imported before this went wrong", documents(&summary));
        }
        if let Some(error) = end? {
            return Err(unreadable(&shown, &error, &summary));
        }
    }
    let imported = Imported {
        store: store.describe(),
        inserted: summary.inserted,
        replaced: summary.replaced,
        kept: summary.kept,
        generated_ids: summary.generated_ids,
        malformed,
    };
    tell(&imported, &shown, &config.store.mapping);
    surroundings.print(&imported_text(&imported), &imported)?;
    Ok(Exit::Well)
}

/// What is read from.
enum Source {
    Stdin,
    File(File),
}

fn open(file: &Path, shown: &str) -> Result<File, CommandError> {
    let opened = File::open(file).and_then(|open| Ok((open.metadata()?.is_dir(), open)));
    match opened {
        Ok((false, open)) => Ok(open),
        Ok((true, _)) => {
            Err(CommandError::usage(format!("`{shown}` is a directory"), "name a file, or `-` for stdin"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CommandError::usage(
            format!("there is no file `{shown}`"),
            "name a file of JSON or CSV, or `-` for stdin",
        )),
        Err(error) => Err(CommandError::io(format!("read `{shown}`"))(error)),
    }
}

/// Documents that go into the store in one transaction, and why nothing comes after them.
#[derive(Default)]
struct Chunk {
    documents: Vec<Map<String, Value>>,
    malformed: Vec<(u64, Malformed)>,
    end: Option<ImportError>,
}

/// Reads chunks on a thread of its own.
///
/// Not on the runtime's blocking threads: the end of the process would wait for one that waits for a terminal.
fn read(
    source: Source,
    format: Option<ImportFormat>,
    mapping: Mapping,
) -> Result<mpsc::Receiver<Chunk>, CommandError> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
    let reading = move || match source {
        Source::Stdin => read_chunks(io::stdin().lock(), format, &mapping, &chunks),
        Source::File(file) => read_chunks(BufReader::new(file), format, &mapping, &chunks),
    };
    std::thread::Builder::new()
        .name("import".to_owned())
        .spawn(reading)
        .map_err(CommandError::io("start a thread that reads the file"))?;
    Ok(receiver)
}

fn read_chunks(
    reader: impl BufRead,
    format: Option<ImportFormat>,
    mapping: &Mapping,
    chunks: &mpsc::Sender<Chunk>,
) {
    let bytes = Rc::new(Cell::new(0));
    let counted = Counted { reader, bytes: bytes.clone() };
    let mut chunk = Chunk::default();
    for read in read_documents(counted, format) {
        match read {
            Ok((line, document)) => {
                chunk.malformed.extend(malformed(&document, mapping).map(|malformed| (line, malformed)));
                chunk.documents.push(document);
            }
            Err(error) => chunk.end = Some(error),
        }
        if chunk.documents.len() >= CHUNK_DOCUMENTS || bytes.get() >= CHUNK_BYTES {
            bytes.set(0);
            // It isn't taken any more: the import has failed, and has said why.
            if chunks.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
        }
    }
    let _ = chunks.blocking_send(chunk);
}

/// Writes a chunk, all of it or nothing; gives back why nothing comes after it.
async fn write(
    store: &SqliteStore,
    chunk: Chunk,
    beside: &Beside,
    summary: &mut ImportSummary,
    malformed: &mut MalformedDocuments,
) -> Result<Option<ImportError>, CommandError> {
    if !chunk.documents.is_empty() {
        let terms = beside.terms(store, &chunk.documents).await?;
        *summary += store.import_as(chunk.documents, terms).await?;
    }
    for (line, problem) in chunk.malformed {
        malformed.count += 1;
        *malformed.reasons.entry(problem.code()).or_default() += 1;
        if malformed.first.len() < MOST_NAMED {
            malformed.first.push(MalformedDocument { line, problem: problem.to_string() });
        }
    }
    Ok(chunk.end)
}

/// A line that can't be read: what was imported before it, and how to go on.
fn unreadable(shown: &str, error: &ImportError, summary: &ImportSummary) -> CommandError {
    let before = match all(summary) {
        0 => "nothing was imported".to_owned(),
        _ => format!("{} before it were imported", documents(summary)),
    };
    let hint = match (error, summary.generated_ids) {
        (ImportError::Read { .. }, _) => "look at the disk or the pipe, and import again".to_owned(),
        (ImportError::Syntax { .. }, 0) => {
            "correct it and import the file again: a document that is there already, by `_id`, gets the file's \
             fields, and keeps its pair where that was refreshed since"
                .to_owned()
        }
        (ImportError::Syntax { .. }, _) => format!(
            "correct it, and leave out what comes before it: {} had no `_id`, and would be there twice",
            shown::count(summary.generated_ids, "document")
        ),
    };
    CommandError::usage(format!("`{shown}`, {}; {before}", error_chain(error)), hint)
}

fn all(summary: &ImportSummary) -> u64 {
    summary.inserted + summary.replaced + summary.kept
}

fn documents(summary: &ImportSummary) -> String {
    shown::count(all(summary), "document")
}

/// Says what a person should know, beside the result.
fn tell(imported: &Imported, shown: &str, mapping: &Mapping) {
    let all = imported.inserted + imported.replaced + imported.kept;
    if all == 0 {
        warn!("there are no documents in `{shown}`");
    } else if imported.malformed.count == all {
        let path = &mapping.refresh_token;
        let none = format!("no document of `{shown}` holds a refresh token that can be sent in `{path}`");
        warn!("{}", with_hint(none, Some("if it is in another field, set `documents.refresh_token`")));
    }
}

fn imported_text(imported: &Imported) -> String {
    let Imported { store, inserted, replaced, kept, generated_ids, malformed } = imported;
    let mut text = format!("{} imported into {store}", shown::count(inserted + replaced + kept, "document"));
    let ids = if *generated_ids > 0 {
        format!(" ({generated_ids} of them without `_id`, which were given one)")
    } else {
        String::new()
    };
    // Writing into a text can't fail.
    let _ = write!(text, "\n  inserted   {inserted:>8}{ids}\n  replaced   {replaced:>8}");
    if *kept > 0 {
        let _ = write!(
            text,
            "\n  kept, newer{kept:>8}  (their pair is newer than the file's and stays; `--overwrite` takes the file's)"
        );
    }
    if malformed.count > 0 {
        let reasons: Vec<_> = malformed.reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
        let _ = write!(
            text,
            "\n  malformed  {:>8}  ({}): imported, but their refresh token can't be sent",
            malformed.count,
            reasons.join(", ")
        );
        for MalformedDocument { line, problem } in &malformed.first {
            let _ = write!(text, "\n    line {line}: {problem}");
        }
        if malformed.count > malformed.first.len() as u64 {
            text.push_str("\n    … all of them: `evergrant tokens list --state malformed`");
        }
    }
    text
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    bytes: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.set(self.bytes.get() + amount as u64);
        self.reader.consume(amount);
    }
}

impl From<InputFormat> for ImportFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Json => Self::Json,
            InputFormat::Csv => Self::Csv,
        }
    }
}

#[cfg(test)]
mod tests;
