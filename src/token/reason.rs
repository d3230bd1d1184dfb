//! Every word that says why: why a document is still due, what an answer meant, why a pair is parked.

use super::word::vocabulary;

vocabulary! {
    /// Why a document is still due after a pass.
    ///
    /// A provider's code, `http_…` or a word of [`Code`] may stand in its place: what the last request brought.
    Reason {
        RefusedOnce = "refused_once":
            "The provider refused the token once, and no other was granted in that pass, or the code only may mean a dead token. That marks no user yet.",
            "Nothing to do. A later pass asks again; a second refusal marks the user.";
        RefusedShare = "refused_share":
            "The provider refused far more tokens than usual, so none of these users was marked.",
            "See exit code 5: check the client registration and `token_url` first.";
        AlreadyRedeemed = "already_redeemed":
            "This machine redeemed the token before, and many other tokens in this pass, so none of these users was marked.",
            "See exit code 5: was a backup restored, or is this a rehearsal with an old `state_dir`?";
        NotAskedAgain = "not_asked_again":
            "The answer to an earlier request was lost, and `ask_again = \"never\"` forbids a second one. The same was found for many other tokens in this pass, so none of these users was marked.",
            "See exit code 5: were many answers lost, or is this an old `state_dir`?";
        ClientRejected = "client_rejected":
            "The provider rejected the client and not the user's token.",
            "Check `client_id`, `client_secret`, `client_auth` and `token_url`, and with `client_auth = \"no_client\"` the `request.headers` and `values`; then run `evergrant check --probe-client`.";
        UnreadAnswer = "unread_answer":
            "A journal holds a successful answer for this token in which no pair was found. The token is not sent again.",
            "In this machine's journal: see `evergrant journal list`, correct the settings `answer.access_token` and `answer.refresh_token`, or use `evergrant journal retry ID`. \
             In another machine's journal: start that machine. If it is gone for good, `evergrant run --once --force` asks again.";
        NotForHeader = "not_for_header":
            "The provider takes the refresh token in a header field, and it holds a space or is longer than 7 KiB.",
            "Was the token damaged when it was stored? Does the server take it in the body as well?";
        TooYoung = "too_young":
            "The token was issued a shorter time ago than `min_age`, so it was not sent, with `--force` either.",
            "Nothing to do. It is due when it is old enough.";
        Held = "held":
            "The new pair is in this machine's journal and could not be written into the document.",
            "See `evergrant journal list`. Typical causes: the provider is no longer configured, the store refuses the document, or the entry is damaged.";
        SameTokenInFlight = "same_token_in_flight":
            "Another document holds the same refresh token, and that document is being refreshed.",
            "Nothing to do. The next pass copies the new pair.";
        ClaimLost = "claim_lost":
            "Another process took over the claim of this document.",
            "Nothing to do. If it happens often, make `lease` longer.";
        WaitsFor = "waits_for":
            "Another machine held this document until its claim ran out. It may have sent the token, and its journal may hold the answer. The document is left as it is.",
            "Start that machine with its `state_dir`: it writes the pair, or gives the claim back. If it is gone for good: `evergrant run --once --take-over JOURNAL`. \
             Without either, the token is sent after half of what was left of its life (`evergrant help lost-answers`).";
        SpentElsewhere = "spent_elsewhere":
            "This token was redeemed, and another machine wrote the last pair of its login. The document holds the old token again: an old backup was restored, or an old document was saved again. The token is not sent.",
            "Start that machine with its `state_dir`: its next pass puts the pair back. `refreshed_by` in the document names its journal. \
             If it is gone for good: `evergrant run --once --take-over JOURNAL` sends the token.";
        DocumentChanged = "document_changed":
            "What is sent beside the token was changed in the document just before the request, and cannot be sent as it is now.",
            "Nothing to do. The next pass says what is wrong with it.";
        Outage = "outage":
            "The provider gave no usable answer for minutes, so the pass stopped asking it.",
            "Nothing to do. The next pass tries again.";
        Paused = "paused":
            "The provider asked for a pause that is longer than a pass waits.",
            "Nothing to do. The report says for how long and until when; the provider is not asked before that.";
        Stopped = "stopped":
            "The pass was stopped (Ctrl-C or SIGTERM) before the turn of this document came.",
            "Nothing to do. The next pass takes it.";
        CannotKeep = "cannot_keep":
            "Store or journal failed before the turn of this document came. Evergrant does not redeem what it cannot keep.",
            "See exit codes 7 and 8, then run again.";
        Store = "store":
            "The store failed while this document was read or written.",
            "The log says how it failed. The next pass finds out what was written.";
        RefusedByStore = "refused_by_store":
            "The store refuses the write into this document: a validator, a unique index, the size limit, or a field that stands twice.",
            "The log names the rule. Change the rule or the document.";
        Journal = "journal":
            "The journal failed while this token was being recorded.",
            "Look at the disk of `state_dir`, then run again.";
        Panic = "panic":
            "A bug in Evergrant: the task of this token panicked.",
            "The backtrace is in the log. Please report it.";
        Others = "others":
            "There were too many different reasons to list each; these are the others.",
            "The log names each document's reason.";
    }
}

vocabulary! {
    /// What one token request brought, when it brought no pair: Evergrant's own codes.
    ///
    /// In a document it stands as `last_error.code` and `last_error.lost.cause`, in a journal row as `why`. A code that is not
    /// in this list is the provider's own (`invalid_grant`), or `http_` and a status.
    Code {
        Connect = "connect":
            "No connection could be made. Nothing was sent.",
            "Check the network, the firewall and `token_url`.";
        ConnectTimeout = "connect_timeout":
            "The connection was not ready in time. Nothing was sent.",
            "Check the network, the firewall and `token_url`.";
        PrivateAddress = "private_address":
            "The host of the token URL comes from the document, and its name has an address within a private network.",
            "Correct the document. A host within your own network belongs into `token_url`, in the settings.";
        Dns = "dns":
            "The host name of the token endpoint could not be resolved. Nothing was sent.",
            "Check `token_url` and the DNS of this machine.";
        Tls = "tls":
            "The TLS handshake failed. Nothing was sent.",
            "Check the certificates. For a private CA, set `SSL_CERT_FILE`.";
        Timeout = "timeout":
            "The request was sent and no full answer came within `request_timeout`.",
            "If it happens often, make `request_timeout` longer.";
        Reset = "reset":
            "The request was sent and the connection broke before the answer.",
            "If it happens often, look at proxies and load balancers between this machine and the provider.";
        CutBody = "cut_body":
            "The answer broke off before its end.",
            "If it happens often, look at proxies and load balancers between this machine and the provider.";
        Html = "html":
            "An HTML page came in place of an answer.",
            "A proxy or a firewall may stand between this machine and the provider. Open `token_url` with `curl`.";
        EmptyBody = "empty_body":
            "A successful answer without a body.",
            "A proxy may stand between this machine and the provider.";
        NoObject = "no_object":
            "A successful answer that is not a JSON object, and in which no token can be: `OK`, `null`.",
            "Check `token_url`.";
        NoTokens = "no_tokens":
            "A successful answer in which the profile finds no pair.",
            "Set `answer.access_token` and `answer.refresh_token` to the places where the tokens stand.";
        NotJson = "not_json":
            "A successful answer that is not JSON and may hold a token: a form, XML, an encrypted text.",
            "Check `token_url`, and ask the provider for JSON.";
        NotUtf8 = "not_utf8":
            "A successful answer that is not UTF-8 text: binary, encrypted, in another charset, or compressed without saying so.",
            "Ask the provider for JSON in UTF-8. If a proxy stands in front of it, let the proxy keep `Content-Encoding`.";
        DecodedTooLong = "decoded_too_long":
            "A compressed successful answer whose text is longer than 1 MiB.",
            "Check `token_url`: token answers are short.";
        ContentCodingGzip = "content_coding_gzip":
            "A successful answer compressed with gzip that is damaged, or that only claims to be gzip.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        ContentCodingDeflate = "content_coding_deflate":
            "A successful answer compressed with deflate that is damaged, or that only claims to be deflate.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        ContentCodingBr = "content_coding_br":
            "A successful answer compressed with brotli that is damaged, or that only claims to be brotli.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        ContentCodingZstd = "content_coding_zstd":
            "A successful answer compressed with zstd, which this version cannot decode.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        ContentCodingCompress = "content_coding_compress":
            "A successful answer compressed with compress, which this version cannot decode.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        ContentCodingUnknown = "content_coding_unknown":
            "A successful answer in a content coding that this version does not know.",
            "Ask the provider, or the operator of a proxy in front of it, to respect `Accept-Encoding: identity`.";
        UnlistedCode = "unlisted_code":
            "The provider sent an error code that is not in the profile, and that is too long or too odd to be shown.",
            "Look at the provider's answer, for example with `evergrant providers try`, and at its documentation: does the code say that this one login is dead? \
             Only then name it in `answer.refused`: that list marks users.";
        Unreadable = "unreadable":
            "No pair could be read in the answer, and a person allowed a second request (`evergrant journal retry`).",
            "Nothing to do. The next pass asks again.";
        Paused = "paused":
            "The provider asked for a pause that is longer than a pass waits.",
            "Nothing to do. The report says for how long and until when; the provider is not asked before that.";
        Stopped = "stopped":
            "Evergrant's own process ended after it sent the token and before the answer came.",
            "Nothing to do. The next start asks again first, unless `ask_again = \"never\"`.";
        Panic = "panic":
            "A bug in Evergrant: the task panicked after the token was sent.",
            "The backtrace is in the log. Please report it.";
        TurnedAway = "turned_away":
            "The request was turned away by an answer that is not the provider's own: a page with 429, or an outage in which no user was granted.",
            "Nothing to do. Evergrant asks again; if the provider then refuses, the user must log in again.";
        ClaimEnded = "claim_ended":
            "Another process held the claim until it ran out. It may have sent the token.",
            "Start that process again if you can: its journal may hold the answer.";
        NotAskedAgain = "not_asked_again":
            "The answer was lost, and `ask_again = \"never\"` forbids a second request.",
            "The user must log in again.";
        AlreadyRedeemed = "already_redeemed":
            "This machine redeemed the token before, and no document holds the pair that came for it.",
            "Was a backup restored, or was an old document saved again? If not, the user must log in again. If the provider takes \
             the token all the same: `evergrant journal forget --id ID`, then `evergrant providers try NAME --id ID`.";
        PastEnd = "past_end":
            "The provider sent an answer that the profile does not know, and the end of the refresh token is past.",
            "Nothing to do. If a later pass gets such an answer as well, the user must log in again.";
        Missing = "missing":
            "The document has no refresh token field.",
            "Check `documents.refresh_token`, or leave these documents out with `documents.filter`.";
        Null = "null":
            "The refresh token is null.",
            "Leave these documents out with `documents.filter`, or ask the user to log in.";
        Empty = "empty":
            "The refresh token is an empty string.",
            "Leave these documents out with `documents.filter`, or ask the user to log in.";
        NotText = "not_text":
            "The refresh token is not a string.",
            "Check `documents.refresh_token`: does it name the right field?";
        TooLong = "too_long":
            "The refresh token is longer than 16 KiB.",
            "Check `documents.refresh_token`: does it name the right field?";
        ForbiddenCharacter = "forbidden_character":
            "The refresh token holds a character outside of printable ASCII (RFC 6749, appendix A.17).",
            "Was the token cut, encrypted or damaged when it was stored?";
        Held = "held":
            "The new pair is in the journal of a machine and is not yet in the document.",
            "See `evergrant journal list` on that machine.";
        NoAccessToken = "no_access_token":
            "The server wants the old access token beside the refresh token, and the document has none that can be sent.",
            "Check `documents.access_token`. If the document never had one, the user must log in again.";
        NoValue = "no_value":
            "A variable of the request has no value: not in the document, not in the settings, not in the profile.",
            "Check `documents.values`, or set `values` for all documents. `evergrant tokens show` names the variable.";
        BadValue = "bad_value":
            "The document holds a value that the variable of the request may not have, so nothing is sent.",
            "Correct the document. `evergrant tokens show` names the variable; the profile says what it may hold.";
        UnknownProvider = "unknown_provider":
            "The document, or the journal entry, names a provider that is not configured.",
            "Configure that provider, or correct the document.";
        NoProvider = "no_provider":
            "The document names no provider, and more than one is configured.",
            "Set the field that `documents.provider` names. `evergrant check` prints a command for it.";
        NoRoom = "no_room":
            "Evergrant cannot write its bookkeeping into the document, so it does not redeem the token.",
            "The log says why: size, a validator, a field that is no sub-document, or one that stands twice.";
    }
}

vocabulary! {
    /// Why a good pair has no place and is parked in the journal (an orphan).
    ParkedWhy {
        Superseded = "superseded":
            "The document holds a newer token that another program wrote.",
            "If that login works, `evergrant journal discard ID`. If it does not, `evergrant journal apply ID` writes this pair in its place.";
        Gone = "gone":
            "The document was deleted.",
            "`evergrant journal discard ID`. Or bring the document back, then `evergrant journal apply ID`.";
        ProviderChanged = "provider_changed":
            "The document belongs to another provider now.",
            "`evergrant journal discard ID`. Or set the provider back, then `evergrant journal apply ID`.";
        Unreadable = "unreadable":
            "A successful answer without a readable pair. It was set aside when its token was sent again.",
            "Nothing to do: it ends with the next pair for that token. Or `evergrant journal discard ID`.";
    }
}

vocabulary! {
    /// What kind of answer the last request brought: `last_error.class` in a document.
    Evidence {
        Throttled = "throttled":
            "Too many requests (429, or a code that the profile lists).",
            "Nothing to do. Evergrant waits as long as the provider asks for.";
        Transient = "transient":
            "The provider did not process the request.",
            "Nothing to do. A later pass asks again.";
        Ambiguous = "ambiguous":
            "The provider may have processed the request, and no usable answer came.",
            "Nothing to do. Evergrant asks again as `rotation` and `ask_again` say.";
        Refused = "refused":
            "The provider says that this refresh token is dead.",
            "The user must log in again.";
        Suspected = "suspected":
            "The provider sent a code that may mean that this refresh token is dead.",
            "Nothing to do. A second refusal in a later pass marks the user.";
        ClientRejected = "client_rejected":
            "The provider rejected the client or the request. This is a fault of the configuration and not of one user.",
            "Check `client_id`, `client_secret`, `client_auth`, `scope` and `token_url`, and with `client_auth = \"no_client\"` the `request.headers` and `values`.";
        Unlisted = "unlisted":
            "The provider answered with an error that the profile does not know.",
            "First find out what the code means: in the provider's documentation, and with `evergrant providers test` on a captured answer. Does it always say \
             that this one login is dead? Only then add it to `answer.refused`: that list marks users, and a code that also comes for living logins would \
             mark them. If it may mean so, add it to `answer.suspected`. If not, there is nothing to do: a later pass asks again.";
        Unreadable = "unreadable":
            "A successful answer in which no pair was found. It is kept in the journal, and the token is not sent again.",
            "Set where the tokens stand (`answer.access_token`, `answer.refresh_token`). If the answer held none: `evergrant journal retry ID`.";
        Malformed = "malformed":
            "The document holds no refresh token that can be sent, or Evergrant cannot write into it.",
            "The code says what is wrong with it.";
    }
}
