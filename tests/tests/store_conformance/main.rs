//! What every store must do, run on MongoDB's wire protocol and on the embedded store.
//!
//! Each check takes a fresh store and no knowledge of which one it is. What only one of them can
//! show (old documents, crashes, locks) is in `mongo` and `embedded`.

mod append;
mod embedded;
mod fixtures;
mod full_disk;
mod mailbox;
mod mongo;
mod mongo_crash;
mod mongo_prepare;
mod rows;
mod servers;
mod view;

macro_rules! suite {
    ($($module:ident { $($check:ident,)+ })+) => {
        mod on_embedded {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let fixture = crate::fixtures::embedded();
                    crate::$module::$check(fixture.store.clone()).await;
                }
            )+)+
        }
        mod on_mongodb {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let fixture = crate::fixtures::mongo().await;
                    crate::$module::$check(fixture.store.clone()).await;
                }
            )+)+
        }
    };
}

suite! {
    view {
        a_view_is_read_as_it_was_written,
        the_first_view_is_made_once,
        a_change_needs_number_and_id,
        of_concurrent_changes_one_wins,
        a_renewal_is_refused_after_a_change,
        a_change_leaves_the_beats_of_others,
        only_members_renew,
        the_clock_is_the_time_of_now,
    }
    rows {
        a_row_is_read_as_it_was_written,
        a_row_is_written_where_none_is_newer,
        stamps_of_rows_compare_whole_and_unsigned,
        many_rows_have_one_result_each,
        of_concurrent_rows_the_newest_stays,
        a_delete_names_server_and_session,
        rows_of_servers_come_in_pages,
        all_rows_of_a_server_go_at_once,
    }
    append {
        a_document_is_read_as_it_was_appended,
        the_lower_stamp_is_kept,
        a_mark_is_kept,
        a_refused_statement_stops_its_lane_alone,
        many_lanes_are_appended_in_order,
        new_and_known_documents_may_be_mixed,
        an_append_of_nothing_is_done,
    }
    mailbox {
        a_page_is_the_oldest_and_says_whether_it_is_the_end,
        stamps_of_documents_compare_whole_and_unsigned,
        expired_documents_are_not_in_a_page,
        many_mailboxes_are_read_at_once,
        many_mailboxes_with_mail_are_read_whole,
        mailboxes_are_counted,
        a_delete_may_come_twice,
        a_read_shows_what_was_acknowledged,
    }
    servers {
        servers_nobody_touches_are_quiet,
        a_touched_server_becomes_quiet_again,
        the_operation_time_grows,
    }
}
