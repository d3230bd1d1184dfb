//! How long something lives, by an answer: the first of the profile's places that says something believable.

use super::found::{Found, Source};
use crate::provider::lifetime::{Form, LifetimePlace, LifetimePlaces, LifetimeSource, Said};
use crate::provider::place::AnswerPlace;
use crate::token::jwt;
use serde_json::Value;
use std::time::Duration;

impl Source<'_> {
    /// The life from the answer on. `token` is what the key speaks of, for its claims, where it came.
    pub(super) fn lifetime(
        &self,
        places: &LifetimePlaces,
        token: Option<&str>,
        longest: Duration,
    ) -> Option<Duration> {
        let believed =
            |place: &LifetimePlace| self.said(place, token)?.believed(self.by_the_provider(), longest);
        places.0.iter().find_map(believed)
    }

    fn said(&self, LifetimePlace { source, form }: &LifetimePlace, token: Option<&str>) -> Option<Said> {
        match source {
            LifetimeSource::Place(AnswerPlace::Pointer(pointer)) => {
                said_by(*form, self.body.value()?.pointer(pointer)?)
            }
            LifetimeSource::Place(AnswerPlace::Cookie(name)) if *form == Form::MaxAge => {
                self.cookie_lasts(name)
            }
            LifetimeSource::Place(place) => match self.at_place(place) {
                Found::Token(text) => form.text(&text),
                Found::Nothing | Found::Unreadable => None,
            },
            LifetimeSource::Jwt(claim) => said_by(*form, &jwt::claim(token?, claim)?),
        }
    }
}

fn said_by(form: Form, value: &Value) -> Option<Said> {
    match value {
        Value::Number(number) => form.number(number.as_f64()?),
        Value::String(text) => form.text(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::grant::body::Body;
    use crate::provider::lifetime::LONGEST_TOKEN_LIFE;
    use crate::token::jwt::tests::jwt;

    #[test]
    fn the_first_place_that_says_something_believable_counts() {
        let at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let ends = |seconds: i64| at.timestamp() + seconds;
        let token = jwt(&format!(r#"{{"exp":{},"ttl":"1h"}}"#, ends(600)));
        let body = format!(
            r#"{{"n":7,"t":"8","zero":0,"d":{{"at":"2026-11-21T03:02:00Z"}},"unix":{},"object":{{}},"far":99999999999}}"#,
            ends(9)
        );
        let fields = [
            ("x-life", "11"),
            ("set-cookie", "rt=x; Max-Age=3600; Expires=Sat, 21 Nov 2026 03:05:00 GMT"),
            ("set-cookie", "dated=x; Expires=Sat, 21 Nov 2026 03:05:00 GMT"),
            ("set-cookie", "ends=12; Path=/"),
            ("set-cookie", "gone=x; Max-Age=0"),
        ];
        let headers = fields.into_iter().collect();
        let body = Body::read(body.as_bytes());
        let source = Source { body: &body, headers: &headers, at, clock_ahead: chrono::TimeDelta::zero() };
        for (places, expected) in [
            (&["/n"][..], Some(7)),
            (&["/t"], Some(8)),
            (&["/zero", "/n"], Some(7)),
            (&["/missing", "/object", "/far", "/t"], Some(8)),
            (&["/d/at as date"], Some(120)),
            (&["/unix as unix"], Some(9)),
            (&["/unix"], None),
            (&["/n as date"], None),
            (&["header:X-Life"], Some(11)),
            (&["cookie:ends"], Some(12)),
            (&["cookie:rt as max_age"], Some(3600)),
            (&["cookie:dated as max_age"], Some(300)),
            (&["cookie:ends as max_age"], None),
            (&["cookie:gone as max_age"], None),
            (&["jwt:exp"], Some(600)),
            (&["jwt:ttl as duration"], Some(3600)),
            (&["jwt:iat", "/n"], Some(7)),
            (&[], None),
        ] {
            let places = LifetimePlaces(places.iter().map(|place| place.parse().unwrap()).collect());
            let life = source.lifetime(&places, Some(&token), LONGEST_TOKEN_LIFE);
            assert_eq!(life, expected.map(Duration::from_secs), "{places:?}");
        }
        let of_a_token = "jwt:exp".parse().unwrap();
        assert_eq!(source.lifetime(&of_a_token, None, LONGEST_TOKEN_LIFE), None, "no token came");
        assert_eq!(source.lifetime(&of_a_token, Some("opaque"), LONGEST_TOKEN_LIFE), None);
    }
}
