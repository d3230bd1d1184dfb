//! What a sandbox prints once it listens: its addresses, and two rehearsals to paste.

use super::Listening;
use crate::failure::with_hint;
use crate::sandbox::Sandbox;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where the rehearsal over MongoDB puts its documents: a database of its own.
const MONGODB_URL: &str = "mongodb://localhost:27017/evergrant_rehearsal";

pub(super) fn listening(listening: &Listening, sandbox: &Sandbox) -> String {
    let Listening {
        base_url, token_url, users_url, ledger_url, client_id, client_secret, users, seed, ..
    } = listening;
    let dead = sandbox.config().dead_users;
    let (users_file, fetch) = match &listening.documents {
        Some(file) => (quoted(&file.display().to_string()), String::new()),
        None => ("users.json".to_owned(), format!("  curl -s {users_url} > users.json\n")),
    };
    let start = |store_url: &str, environment: &BTreeMap<String, String>| {
        let exports = environment.iter().map(|(name, value)| format!("  export {name}={}\n", quoted(value)));
        format!(
            "  cd \"$(mktemp -d)\"\n  export EVERGRANT_STATE_DIR=\"$PWD\"\n  export EVERGRANT_STORE_URL={store_url}\n{}{fetch}",
            exports.collect::<String>()
        )
    };
    let embedded = start("\"sqlite:$PWD/tokens.db\"", &listening.environment);
    let of_mongodb = listening.environment_autodesk.as_ref().unwrap_or(&listening.environment);
    let mongodb = start(MONGODB_URL, of_mongodb);
    let with_autodesk = if listening.profile.is_none() { " and Autodesk's profile" } else { "" };
    let plays = match &sandbox.config().role {
        Some(role) => format!("\x20 plays          {}: {}\n", role.name(), role.endpoint()),
        None => String::new(),
    };
    let lines = "EJSON.parse(\"[\" + require(\"fs\").readFileSync(process.env.USERS, \"utf8\").trim().split(\"\\n\").join(\",\") + \"]\")";
    let mongosh = format!(
        "USERS={users_file} mongosh \"$EVERGRANT_STORE_URL\" --eval 'db.tokens.drop(); db.tokens.insertMany({lines})'"
    );
    let line = |variable: &str, what: &str, value: &str| {
        let is_taken = listening.environment.contains_key(variable);
        if is_taken { format!("  {what}  {value}\n") } else { String::new() }
    };
    let client = line("EVERGRANT_CLIENT_ID", "client id    ", client_id)
        + &line("EVERGRANT_CLIENT_SECRET", "client secret", client_secret);
    let mut text = format!(
        "sandbox at {base_url} until Ctrl-C\n\
         {plays}\
         \x20 token URL      {token_url}\n\
         {client}\
         \x20 users          {users} ({dead} of them must log in again)\n\
         \x20 seed           {seed} (`--seed {seed}` makes the same tokens and faults again)\n\
         \n\
         To try it with the embedded store, paste into another terminal:\n\
         {embedded}\
         \x20 evergrant tokens import {users_file}\n\
         \x20 evergrant run --once\n\
         \x20 curl -s {ledger_url}\n\
         \n\
         To rehearse with MongoDB{with_autodesk}, paste this instead (it empties the collection `tokens` of a database \
         of its own first):\n\
         {mongodb}\
         \x20 mongoimport --uri \"$EVERGRANT_STORE_URL\" --collection tokens --drop {users_file}\n\
         \x20 evergrant check\n\
         \x20 evergrant run --once\n\
         \x20 curl -s {ledger_url}\n\
         In place of `mongoimport`, `mongosh` can fill the collection:\n\
         \x20 {mongosh}\n\
         \n\
         A new login: curl -s -X POST {base_url}/control/login/user-000000\n\
         One more user: curl -s -X POST '{users_url}?count=1'\n\
         All endpoints: evergrant sandbox --help"
    );
    let address = sandbox.address().ip();
    if !address.is_loopback() {
        text += "\n\nwarning: other machines can reach this sandbox, and anyone who does can read its tokens and change its faults";
        let hint = format!("`--listen 127.0.0.1:{}` keeps it to this machine", sandbox.address().port());
        text = with_hint(text, Some(&hint));
    }
    if !address.is_loopback() && !address.is_unspecified() {
        let _ = write!(
            text,
            "\n\nEvergrant sends secrets over `http://` to its own machine only: for this address put a proxy with https \
             in front, or listen on 127.0.0.1."
        );
    }
    text
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
