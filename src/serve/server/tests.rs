use super::*;

#[test]
fn connections_leave_descriptors_for_the_rest() {
    for (wanted, descriptors, want) in [
        (1000, None, 1000),
        (1000, Some(1_048_576), 1000),
        (1000, Some(1024), 960),
        (100, Some(1024), 100),
        (1000, Some(64), 32),
        (1000, Some(1), 1),
        (0, Some(1024), 1),
        (0, None, 1),
    ] {
        assert_eq!(affordable(wanted, descriptors), want, "{wanted} of {descriptors:?}");
    }
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max processes             63432                63432                processes \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(parse_limit(limits), Some(1024));
    assert_eq!(parse_limit(&limits.replace("1024  ", "unlimited")), None);
    assert_eq!(parse_limit(""), None);
    assert!(descriptor_limit().is_some_and(|limit| limit > 3));
}
