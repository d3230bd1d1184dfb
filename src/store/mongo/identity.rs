//! What the collection is known by: its UUID, and the deployment that it stands in.

use super::{MongoStore, READ_TIMEOUT, prepare::first_batch};
use crate::store::{Deployment, Identity, Mark, StoreError};
use bson::{Bson, Document, doc};

impl MongoStore {
    pub(super) async fn known_by(&self) -> Result<Identity, StoreError> {
        let hello = self.command("connect", READ_TIMEOUT, doc! { "isMaster": 1 }).await?;
        Ok(Identity {
            name: format!("mongodb {}", self.namespace),
            mark: self.mark().await?,
            deployment: Some(self.deployment(&hello)),
        })
    }

    /// The collection's UUID. It stays when the collection is renamed, and in a copy of the server's disk; a collection
    /// that is made again or restored gets another one.
    async fn mark(&self) -> Result<Mark, StoreError> {
        let command = doc! { "listCollections": 1, "filter": { "name": &self.namespace.coll } };
        let found = match self.command("look for the collection", READ_TIMEOUT, command).await {
            Ok(found) => found,
            // A user who may not list the collections may still refresh what is in this one.
            Err(StoreError::Denied { .. }) => return Ok(Mark::Untold),
            Err(error) => return Err(error),
        };
        let Some(Bson::Document(found)) = first_batch(&found).first() else { return Ok(Mark::Absent) };
        Ok(uuid(found).map_or(Mark::Untold, Mark::Told))
    }

    /// A server that isn't in a set doesn't say how it is reached: then the hosts of the URL stand for it.
    fn deployment(&self, hello: &Document) -> Deployment {
        let listed =
            ["hosts", "passives", "arbiters"].into_iter().filter_map(|name| hello.get_array(name).ok());
        let members = listed.flatten().filter_map(Bson::as_str).map(str::to_lowercase);
        if let Ok(set) = hello.get_str("setName") {
            return Deployment { set: Some(set.to_owned()), members: members.collect() };
        }
        let hosts = self.options.hosts.iter().map(|host| one_name(&host.to_string()));
        Deployment { set: None, members: hosts.collect() }
    }
}

fn uuid(collection: &Document) -> Option<String> {
    let info = collection.get_document("info").ok()?;
    let Bson::Binary(uuid) = info.get("uuid")? else { return None };
    let hex = uuid.bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    hex.map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// One name for this machine, however the URL calls it.
fn one_name(host: &str) -> String {
    let host = host.to_lowercase();
    let loopback = ["127.0.0.1:", "[::1]:", "::1:"];
    let port = loopback.iter().find_map(|name| host.strip_prefix(name));
    port.map_or_else(|| host.clone(), |port| format!("localhost:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_one_name() {
        for name in ["localhost:27017", "127.0.0.1:27017", "[::1]:27017", "LOCALHOST:27017"] {
            assert_eq!(one_name(name), "localhost:27017");
        }
        assert_eq!(one_name("DB1.example.com:27018"), "db1.example.com:27018");
    }

    #[test]
    fn a_uuid_is_read_where_there_is_one() {
        let binary = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![1, 0xab] };
        let told = doc! { "name": "tokens", "info": { "readOnly": false, "uuid": binary } };
        assert_eq!(uuid(&told), Some("01ab".to_owned()));
        assert_eq!(uuid(&doc! { "name": "tokens", "info": { "readOnly": false } }), None);
    }
}
