//! Where the token endpoint of a profile is, at the sandbox's address.

use super::pattern::Pattern;
use crate::provider::variable::{Kind, Variable};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// First segments of the paths that are the sandbox's own.
const OWN: [&str; 4] = ["control", "healthz", "ledger", "users"];

/// What stands before a path that would be one of the sandbox's own.
const ASIDE: &str = "provider";

/// The path and the query of a token endpoint.
#[derive(Debug)]
pub(super) struct Path {
    text: String,
    segments: Vec<Pattern>,
    query: Vec<(String, String)>,
}

impl Path {
    /// That of a profile's `token_url`; `/token` where it has none.
    ///
    /// The variables of the host can't stand in the sandbox's: they become the first segments, but for those that are a
    /// whole host, which no path may hold.
    pub(super) fn new(token_url: Option<&str>, variables: &BTreeMap<String, Variable>) -> Self {
        let url = token_url.unwrap_or("/token");
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, rest) = after_scheme.split_at(after_scheme.find(['/', '?']).unwrap_or(after_scheme.len()));
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let of_the_host = variables.iter().filter_map(|(name, variable)| {
            let written = format!("{{{name}}}");
            let may_stand = matches!(variable.kind, Kind::Label | Kind::OneOf(_));
            host.find(&written).filter(|_| may_stand).map(|at| (at, written))
        });
        let mut of_the_host: Vec<_> = of_the_host.collect();
        of_the_host.sort();
        let mut segments: Vec<String> = of_the_host.into_iter().map(|(_, written)| written).collect();
        segments.extend(path.strip_prefix('/').unwrap_or(path).split('/').map(str::to_owned));
        if OWN.contains(&segments[0].as_str()) {
            segments.insert(0, ASIDE.to_owned());
        }
        let mut text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if !query.is_empty() {
            text.extend(["?", query]);
        }
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { text, segments: segments.iter().map(|text| Pattern::new(text, variables)).collect(), query }
    }

    /// As it is written in settings, with the variables in it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The parameters that each request has.
    pub(super) fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// Is a request's path this one?
    pub(super) fn fits(&self, path: &str) -> bool {
        let sent: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let is_own = OWN.contains(&sent[0]) && self.segments.first().is_some_and(|first| !first.is_literal());
        let fit = |(pattern, sent): (&Pattern, &&str)| pattern.fits(sent);
        !is_own && sent.len() == self.segments.len() && self.segments.iter().zip(&sent).all(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_where_the_profile_has_it() {
        let table: toml::Table =
            "[v]\nshop = \"label\"\nid = \"segment\"\ndc = { one_of = [\"eu\"] }\nhost = { hosts = [\"a.com\"] }"
                .parse()
                .unwrap();
        let variables = table["v"].clone().try_into().unwrap();
        for (url, text, good, bad) in [
            (None, "/token", "/token", "/token/"),
            (Some("https://a.com/oauth2/v2.0/token"), "/oauth2/v2.0/token", "/oauth2/v2.0/token", "/token"),
            (Some("https://{shop}.a.com/t"), "/{shop}/t", "/acme/t", "/A/t"),
            (Some("https://{host}/t/{id}/"), "/t/{id}/", "/t/7/", "/t/7"),
            (Some("https://{shop}.x.{dc}/t"), "/{shop}/{dc}/t", "/acme/eu/t", "/acme/us/t"),
            (
                Some("https://a.com/users/login"),
                "/provider/users/login",
                "/provider/users/login",
                "/users/login",
            ),
            (Some("https://a.com/{id}"), "/{id}", "/7", "/users"),
            (Some("https://a.com"), "/", "/", "/token"),
            (Some("https://a.com/t?v=2#x"), "/t?v=2", "/t", "/t?v=2"),
        ] {
            let path = Path::new(url, &variables);
            assert_eq!(path.text(), text);
            assert!(path.fits(good) && !path.fits(bad), "{text}");
        }
        assert_eq!(Path::new(Some("https://a/t?v=a%20b"), &variables).query(), [("v".into(), "a b".into())]);
    }
}
