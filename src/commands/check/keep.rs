//! Can each access token be replaced before it ends, where it is kept good?

use super::finding::Check;
use crate::clock::Timestamp;
use crate::config::{Config, Keeping, Warning};
use crate::exit::Exit;
use crate::failure::Advice as _;
use crate::provider::Provider;

/// The check of one provider; `documents` is how many there are, where that is known.
pub(super) fn check(
    provider: &Provider,
    config: &Config,
    documents: Option<u64>,
    now: Timestamp,
) -> Option<Check> {
    let keeping = Keeping::of(config, provider, now)?;
    let name = format!("{}: access tokens", provider.name);
    let warning = documents.and_then(|documents| keeping.warning(documents, provider.profile.rate));
    // The documents of several providers are counted together: then a provider's own may be fewer.
    let is_counted = config.providers.len() == 1;
    Some(match &warning {
        None => Check::ok(name, format!("each is replaced before it ends: {}", keeping.arithmetic())),
        Some(warning @ Warning::LateAccess(_, pass)) if is_counted && pass.never_fits(&keeping) => {
            let check = Check::failed(name, Exit::Usage, warning.to_string());
            match warning.hint() {
                Some(hint) => check.hint(hint),
                None => check,
            }
        }
        Some(warning) => Check::warned(name, warning),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::super::given::{self, now};
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        given::config(&[&[("schedule", "every 20min")], settings].concat())
    }

    #[test]
    fn a_pass_that_never_fits_between_two_wakes_fails_the_check_where_its_documents_are_counted() {
        let one = [("provider", "autodesk"), ("client_id", "i"), ("client_secret", "s")];
        let keep = [("keep", "access"), ("access_token_lifetime", "30min")];
        let alone = config(&[one.as_slice(), &keep].concat());
        let check = |config: &Config, documents| check(&config.providers[0], config, documents, now());
        for (documents, status) in [
            (None, Status::Ok),
            (Some(0), Status::Ok),
            (Some(3600), Status::Ok),      // 9 min
            (Some(3601), Status::Warning), // an access token can end a little early
            (Some(8000), Status::Warning), // 20 min
            (Some(8001), Status::Failed),
        ] {
            let found = check(&alone, documents).unwrap();
            assert_eq!(found.status, status, "{documents:?}: {found:?}");
            assert_eq!(found.hint.is_some(), status != Status::Ok, "{found:?}");
        }
        assert_eq!(check(&alone, Some(8001)).unwrap().exit(), Exit::Usage);
        assert_eq!(check(&config(&one), Some(u64::MAX)), None, "the login only");
        let unlimited = config(&[one.as_slice(), &keep, &[("rate", "none")]].concat());
        assert_eq!(check(&unlimited, Some(u64::MAX)).unwrap().status, Status::Ok);
        let continuous = config(&[one.as_slice(), &keep, &[("schedule", "continuous")]].concat());
        for (documents, status) in [
            (Some(11_200), Status::Ok), // 28 min: a minute for the look, a minute for the request
            (Some(11_201), Status::Warning),
            (Some(12_001), Status::Failed), // longer than a life
        ] {
            let found = super::check(&continuous.providers[0], &continuous, documents, now()).unwrap();
            assert_eq!(found.status, status, "{documents:?}: {found:?}");
        }
        let two = config(&[
            ("documents.provider", "provider"),
            ("providers.a.profile", "autodesk"),
            ("providers.a.client_id", "i"),
            ("providers.a.client_secret", "s"),
            ("providers.a.keep", "access"),
            ("providers.a.access_token_lifetime", "30min"),
            ("providers.b.profile", "autodesk"),
            ("providers.b.client_id", "i"),
            ("providers.b.client_secret", "s"),
        ]);
        assert_eq!(check(&two, Some(8001)).unwrap().status, Status::Warning, "they may be those of `b`");
    }
}
