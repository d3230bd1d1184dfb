//! With a provider as slow as real ones: the pass against the loop that many teams run.

use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, per_second, say, setup, timed};
use bson::{Bson, doc};
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::Wire as _;
use evergrant::testing::grant::http::TokenEndpoint;
use evergrant::testing::grant::{self, Sent};
use evergrant::testing::pass::Stop;
use evergrant::testing::token::RefreshToken;
use mongodb::options::WriteConcern;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(200);

/// Grants in flight at once.
const CONCURRENCY: usize = 64;

/// Documents of the pass: some ten seconds.
const DOCUMENTS: usize = 3000;

/// Documents of the loop: some ten seconds.
const IN_A_ROW: usize = 48;

/// The pass' throughput, in those of the loop.
const LEAST_TIMES: f64 = 40.0;

pub(crate) async fn measure() -> Vec<Measured> {
    let target = "200 ms, 64 in flight: throughput, of one after the other";
    say(&format!("a pass of {DOCUMENTS} documents at 200 ms, and a loop over {IN_A_ROW}"));
    let process = ProviderProcess::start("none", LATENCY);
    let Some(in_a_row) = one_after_the_other(&process).await else { return vec![Measured::skipped(target)] };
    let Some(pass) = pass(&process).await else { return vec![Measured::skipped(target)] };
    let times = pass / in_a_row;
    let figure = format!("{times:.1} × ({pass:.0}/s, {in_a_row:.2}/s)");
    vec![Measured::required(target, figure, "≥ 40 ×", times >= LEAST_TIMES)]
}

async fn pass(process: &ProviderProcess) -> Option<f64> {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::mongo("bench_latency")?;
    collection.fill(process.add_users(DOCUMENTS).await).await;
    let pass = setup::pass(&collection, folder.path(), process.as_provider("none", CONCURRENCY)).await;
    let (summary, took) = timed(setup::run(&pass, &Stop::default())).await;
    setup::assert_all_refreshed(&summary, DOCUMENTS);
    collection.drop().await;
    Some(per_second(DOCUMENTS, took))
}

/// Find, ask, update; then the next.
async fn one_after_the_other(process: &ProviderProcess) -> Option<f64> {
    let collection = Collection::mongo("bench_loop")?;
    let documents = process.add_users(IN_A_ROW).await;
    let ids = documents.iter().map(|document| Bson::try_from(document["_id"].clone()).unwrap());
    let ids: Vec<_> = ids.collect();
    collection.fill(documents).await;
    let raw = collection.raw().await;
    let provider = process.as_provider("none", 1);
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let in_a_row = async {
        for id in ids {
            let document = raw.find_one(doc! { "_id": &id }).await.unwrap().unwrap();
            let token = RefreshToken::new(document.get_str("refresh_token").unwrap().to_owned());
            let sent = endpoint.post(&grant::request(&provider, &token).unwrap()).await;
            let Sent::Answered(answer) = sent else { panic!("the sandbox answers") };
            let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let pair = doc! {
                "access_token": answer["access_token"].as_str().unwrap(),
                "refresh_token": answer["refresh_token"].as_str().unwrap(),
            };
            let durably = WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true);
            let update = raw.update_one(doc! { "_id": id }, doc! { "$set": pair });
            let updated = update.write_concern(durably.build()).await.unwrap();
            assert_eq!(updated.modified_count, 1);
        }
    };
    let ((), took) = timed(in_a_row).await;
    collection.drop().await;
    Some(per_second(IN_A_ROW, took))
}
