//! What `tokens import` prints.

use super::*;
use crate::failure::told;
use crate::help::json::assert_documented;

async fn chunks(text: &'static str) -> Vec<Chunk> {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_WAITING);
    std::thread::spawn(move || read_chunks(text.as_bytes(), None, &Mapping::default(), &sender));
    let mut chunks = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        chunks.push(chunk);
    }
    chunks
}

#[tokio::test]
async fn what_is_good_before_a_bad_line_is_imported_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("t.db"), Mapping::default()).await.unwrap();
    let (mut summary, mut malformed) = (ImportSummary::default(), MalformedDocuments::default());
    let mut end = None;
    for chunk in
        chunks("{\"_id\":1,\"refresh_token\":\"a\"}\n{\"refresh_token\":null}\n{\"_id\":s3cret}\n{}").await
    {
        let beside = Beside::nothing(directory.path());
        end = write(&store, chunk, &beside, &mut summary, &mut malformed).await.unwrap();
    }
    assert_eq!((summary.inserted, summary.generated_ids), (2, 1));
    assert_eq!((malformed.count, malformed.first[0].line), (1, 2));
    let error = unreadable("users.json", &end.unwrap(), &summary);
    assert_eq!(error.exit(), Exit::Usage);
    assert_eq!(
        told(&error),
        "`users.json`, line 3: this is not JSON, at column 8; expected a JSON object; 2 documents before it were \
         imported\nhint: correct it, and leave out what comes before it: 1 document had no `_id`, and would be \
         there twice"
    );
}

#[tokio::test]
async fn large_documents_end_a_chunk_early() {
    let line = format!("{{\"_id\":1,\"note\":\"{}\"}}\n", "x".repeat(1 << 20));
    let text: &'static str = line.repeat(9).leak();
    let sizes: Vec<_> = chunks(text).await.iter().map(|chunk| chunk.documents.len()).collect();
    assert_eq!(sizes, [4, 4, 1]);
}

#[test]
fn an_import_names_the_first_malformed_documents() {
    let first = (1..=5).map(|line| MalformedDocument { line, problem: Malformed::Empty.to_string() });
    let mut imported = Imported {
        store: "sqlite:tokens.db".to_owned(),
        inserted: 9,
        replaced: 1,
        kept: 0,
        generated_ids: 0,
        malformed: MalformedDocuments::default(),
    };
    assert_documented("tokens import", &imported);
    assert_eq!(
        imported_text(&imported),
        "10 documents imported into sqlite:tokens.db\n  inserted          9\n  replaced          1"
    );
    imported.generated_ids = 3;
    imported.kept = 2;
    imported.malformed =
        MalformedDocuments { count: 6, reasons: [("empty", 6)].into(), first: first.collect() };
    insta::assert_snapshot!(imported_text(&imported));
}
