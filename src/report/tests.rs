use super::*;

#[test]
fn reasons_of_a_providers_making_are_bounded_in_number_and_all_counted() {
    let report = Report::new();
    for number in 0..1000 {
        report.touched();
        report.ended(Outcome::StillDue, Some(&format!("code_{}", number % 200)));
    }
    let reasons = report.summary("c", Some(1), Timestamp::default(), Duration::ZERO).still_due_reasons;
    assert_eq!((reasons.len(), reasons.values().sum::<u64>()), (MOST_REASONS + 1, 1000));
}
