//! Tokens with which the client is rejected while others are granted: probably these logins have ended, under a code that the
//! profile doesn't know.

use super::summary::Warned;
use super::trouble::if_these_logins_ended;
use super::{MOST_REASONS, Report};
use std::collections::BTreeMap;

/// The codes under which a provider rejected the client, with their status, and for how many tokens.
#[derive(Debug, Default, Clone)]
pub(super) struct Rejections {
    by_code: BTreeMap<(String, Option<u16>), u64>,
    /// Those with codes beyond as many as are told apart.
    others: u64,
}

impl Report {
    /// The provider rejected the client for one token.
    pub fn rejected(&self, code: &str, http_status: Option<u16>) {
        let Rejections { by_code, others } = &mut self.lock().rejections;
        let key = (code.to_owned(), http_status);
        if by_code.len() < MOST_REASONS || by_code.contains_key(&key) {
            *by_code.entry(key).or_default() += 1;
        } else {
            *others += 1;
        }
    }

    /// The provider grants others: says for which tokens it rejected the client, and under which codes.
    pub fn rejected_among_grants(&self, provider: &str) {
        let mut inner = self.lock();
        let Rejections { by_code, others } = std::mem::take(&mut inner.rejections);
        let Some(((code, http_status), _)) = by_code.iter().max_by_key(|(_, tokens)| **tokens) else {
            return;
        };
        let tokens = by_code.values().sum::<u64>() + others;
        let mut codes: Vec<_> = by_code
            .iter()
            .map(|((code, http_status), tokens)| {
                let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
                format!("{code}{status}: {tokens}")
            })
            .collect();
        codes.extend((others > 0).then(|| format!("others: {others}")));
        let noun = if tokens == 1 { "token" } else { "tokens" };
        let message = format!(
            "`{provider}`: the provider rejected the client for {tokens} {noun} and granted others ({})",
            codes.join("; ")
        );
        let hint = if_these_logins_ended(code, *http_status);
        inner.warnings.push(Warned { provider: Some(provider.to_owned()), message, hint });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use std::time::Duration;

    #[test]
    fn each_code_of_a_rejection_among_grants_is_told_with_its_status_and_its_count() {
        let report = Report::new();
        report.rejected_among_grants("own");
        for status in [Some(401), Some(401), None] {
            report.rejected("session_ended", status);
        }
        (0..1000).for_each(|number| report.rejected(&format!("z{number}"), Some(403)));
        report.rejected_among_grants("own");
        let [warned] = &report.summary("c", None, Timestamp::default(), Duration::ZERO).warnings[..] else {
            panic!("one warning")
        };
        let begins = "`own`: the provider rejected the client for 1003 tokens and granted others (session_ended: 1; session_ended, HTTP 401: 2; z0, HTTP 403: 1; ";
        assert!(warned.message.starts_with(begins), "{}", warned.message);
        assert!(warned.message.ends_with("; others: 952)"), "{}", warned.message);
        assert!(
            warned.hint.as_ref().unwrap().contains("list `session_ended` in `answer.refused`"),
            "{warned:?}"
        );
    }
}
