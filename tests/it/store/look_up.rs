//! What a person asks a store: one subject's documents, strange providers, indexes that delete documents.

use super::backend::{both, id, login, mongo, path};
use bson::doc;
use evergrant::testing::store::{Strangers, TtlIndex, mapping::Mapping};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn documents_of_a_subject_are_found_by_each_mapped_field_and_by_nothing_else() {
    for backend in both("of_subject", Mapping::default()).await {
        let object_id = "507f1f77bcf86cd799439011";
        backend
            .insert([
                login(&json!(1), json!({ "email": "ann@b", "userId": 7 })),
                login(&json!(2), json!({ "email": "ann@b", "userId": "u-2" })),
                login(&json!(3), json!({ "email": "Ann@b", "userId": { "$oid": object_id } })),
                login(&json!(4), json!({ "email": "q\"uote\\é@b", "userId": { "$numberLong": "8" } })),
                login(&json!(5), json!({ "email": { "$ne": null }, "userId": "see ann@b" })),
                login(&json!(6), json!({ "email": "{\"$ne\":null}", "userId": "$email" })),
            ])
            .await;
        let found = async |subject: &str, limit| {
            let found = backend.store.of_subject(subject, limit).await.unwrap();
            let mut ids: Vec<_> = found.into_iter().map(|document| document.id).collect();
            ids.sort();
            ids
        };
        let ids = |numbers: &[i32]| numbers.iter().map(|number| id(&json!(number))).collect::<Vec<_>>();
        for (subject, numbers) in [
            ("ann@b", &[1, 2][..]),
            ("Ann@b", &[3]),
            (object_id, &[3]),
            ("7", &[1]),
            ("8", &[4]),
            ("u-2", &[2]),
            ("q\"uote\\é@b", &[4]),
            ("{\"$ne\":null}", &[6]),
            ("$email", &[6]),
            ("nn@", &[]),
            ("nobody@b", &[]),
        ] {
            assert_eq!(found(subject, 10).await, ids(numbers), "{subject}");
        }
        assert_eq!(found("ann@b", 1).await.len(), 1);
        let one = backend.store.of_subject("ann@b", 1).await.unwrap().pop().unwrap();
        assert_eq!(one.refresh_token.unwrap().expose(), "old", "with all that is read elsewhere");
    }
}

#[tokio::test]
async fn every_stranger_of_the_whole_collection_is_counted_and_named() {
    let mapping = Mapping { provider: Some(path("oauth.provider")), ..Mapping::default() };
    for backend in both("strangers", mapping).await {
        let of = |n: usize, provider: serde_json::Value| {
            login(&json!(n), json!({ "oauth": { "provider": provider } }))
        };
        backend.insert((0..102).map(|n| of(n, json!("xero")))).await;
        let configured = ["autodesk".to_owned(), "xero".to_owned()];
        assert_eq!(backend.store.strangers(&configured).await.unwrap(), Strangers::default());
        backend.insert([of(103, json!("Xero")), of(104, json!("acme")), of(105, json!("acme"))]).await;
        backend
            .insert([
                of(106, json!(null)),
                of(107, json!("")),
                of(108, json!(5)),
                of(109, json!(["xero"])),
                login(&json!(110), json!({})),
            ])
            .await;
        let strangers = backend.store.strangers(&configured).await.unwrap();
        let names = vec![("acme".to_owned(), 2), ("Xero".to_owned(), 1)];
        assert_eq!(strangers, Strangers { without: 5, other: 3, names });
    }
}

#[tokio::test]
async fn where_no_provider_field_is_mapped_there_are_no_strangers() {
    for backend in both("no_strangers", Mapping::default()).await {
        backend.insert([login(&json!(1), json!({ "provider": "acme" }))]).await;
        assert_eq!(backend.store.strangers(&["xero".to_owned()]).await.unwrap(), Strangers::default());
    }
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_known_and_not_counted_as_strange() {
    let mapping = Mapping {
        provider: Some(path("provider")),
        filter: Some(r#"{ "active": true }"#.to_owned()),
        ..Mapping::default()
    };
    let Some(backend) = mongo("left_out", mapping).await else { return };
    backend
        .insert([
            login(&json!(1), json!({ "active": true, "provider": "acme" })),
            login(&json!(2), json!({ "active": false, "provider": "acme" })),
        ])
        .await;
    let ids = [id(&json!(1)), id(&json!(2))];
    assert_eq!(backend.store.left_out(&ids).await.unwrap(), ids[1..]);
    assert_eq!(backend.store.strangers(&["xero".to_owned()]).await.unwrap().other, 1);
}

#[tokio::test]
async fn an_index_that_deletes_documents_is_found_and_no_other_one_is() {
    let Some(backend) = mongo("ttl", Mapping::default()).await else { return };
    assert_eq!(backend.store.ttl_indexes().await.unwrap(), []);
    let options = IndexOptions::builder().expire_after(Duration::from_mins(1)).build();
    let index = IndexModel::builder().keys(doc! { "evergrant.since": 1 }).options(options).build();
    let name = backend.collection().create_index(index).await.unwrap().index_name;
    let expected = TtlIndex { name, field: "evergrant.since".to_owned(), after_seconds: 60 };
    assert_eq!(backend.store.ttl_indexes().await.unwrap(), [expected]);
}
