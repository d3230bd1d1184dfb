//! Settings by which access tokens are kept good: what was written under others falls due too late, and would not be looked
//! at.

use super::{Line, PassRequest};
use crate::journal::JournalError;
use crate::schedule::LateAccess;
use tracing::info;

impl Line {
    /// What the lane looks for in all of its documents. Are the access tokens kept good by other settings than those under
    /// which the documents were written? Then what falls due too late by these, and so do the next passes until one is
    /// through.
    pub(super) async fn looks(&self, request: &PassRequest) -> Result<Option<LateAccess>, JournalError> {
        let Some(counter) = self.whose.counter() else { return Ok(None) };
        let (journal, name) = (&self.base.journal, &counter.provider.name);
        let known = journal.keeping(name).await?;
        let Some(keeping) = self.base.keeping(&counter.provider) else {
            if known.is_some_and(|known| !known.is_empty()) {
                journal.set_keeping(name, String::new()).await?;
            }
            return Ok(None);
        };
        if request.only.is_some() || known.as_ref() == Some(&keeping) {
            return Ok(None);
        }
        info!(
            provider = &**name,
            "the access tokens of `{name}` are kept good by settings that are new here: the whole collection is searched for documents that would fall due too late"
        );
        Ok(self.policy.late_access(&counter.provider.profile))
    }

    /// Notes the settings once a pass has looked through all documents, where nothing has kept it from its work.
    pub(super) async fn note_looks(
        &self,
        has_looked: bool,
        request: &PassRequest,
    ) -> Result<(), JournalError> {
        let journal = &self.base.journal;
        if !has_looked || journal.is_broken() || self.report.has_trouble() || request.limit.is_some() {
            return Ok(());
        }
        let keeping = self.whose.counter().and_then(|counter| self.base.keeping(&counter.provider));
        match keeping {
            Some(keeping) => journal.set_keeping(&self.whose.name(), keeping).await,
            None => Ok(()),
        }
    }
}
