//! A survey, or why there is none: nothing depends on it, so an error is no failure.

use super::Store;
use crate::failure::{Advice as _, error_chain};
use crate::survey::{NotMade, Survey, SurveyQuery, Surveyed};
use std::borrow::Cow;

/// Asks a store how its tokens stand.
///
/// # Errors
/// [`NotMade`]: why it can't be counted.
pub async fn surveyed(store: &dyn Store, query: &SurveyQuery) -> Result<Survey, NotMade> {
    match store.survey(query).await {
        Ok(Surveyed::Made(survey)) => Ok(*survey),
        Ok(Surveyed::NotMade(why)) => Err(why),
        Err(error) => Err(NotMade { reason: error_chain(&error), hint: error.hint().map(Cow::into_owned) }),
    }
}
