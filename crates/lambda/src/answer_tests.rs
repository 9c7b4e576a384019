//! The sending side against the receiving side, without a runtime between them.

use super::*;

fn outcome(payload: &str, failed: bool) -> Outcome {
    Outcome {
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        function_error: failed.then_some("Unhandled"),
        executed_version: "$LATEST".to_owned(),
        log_tail: Some(Bytes::from_static(b"tail")),
        durable_execution_arn: None,
    }
}

fn piece(length: usize) -> Bytes {
    Bytes::from(vec![b'x'; length])
}

async fn all(mut stream: ResponseStream) -> (Vec<Bytes>, StreamEnd) {
    let mut chunks = Vec::new();
    loop {
        match stream.next().await.expect("an end") {
            StreamEvent::Chunk(chunk) => chunks.push(chunk),
            StreamEvent::End(end) => {
                assert_eq!(stream.next().await, None);
                return (chunks, end);
            }
        }
    }
}

#[tokio::test]
async fn pieces_arrive_before_the_end() {
    let (mut answer, begun) = Answer::streamed(false);
    answer.of_version("7");
    answer.begin(b"text/plain");
    let mut streaming = begun.await.unwrap().unwrap();
    assert_eq!((&*streaming.executed_version, &*streaming.content_type), ("7", "text/plain"));
    answer.chunk(piece(3)).await.unwrap();
    assert_eq!(streaming.stream.next().await, Some(StreamEvent::Chunk(piece(3))));
    answer.chunk(piece(0)).await.unwrap();
    answer.chunk(piece(1)).await.unwrap();
    assert_eq!(answer.passed_on(), 4);
    answer.finish(Ok(outcome("", false)));
    let end = StreamEnd { error: None, log_tail: Some(Bytes::from_static(b"tail")) };
    assert_eq!(all(streaming.stream).await, (vec![piece(1)], end));
}

#[tokio::test]
async fn an_answer_that_is_whole_is_one_piece() {
    let (answer, begun) = Answer::streamed(false);
    answer.finish(Ok(outcome("{}", false)));
    let streaming = begun.await.unwrap().unwrap();
    assert_eq!(streaming.content_type, "application/json");
    let (chunks, end) = all(streaming.stream).await;
    assert_eq!((chunks, end.error), (vec![Bytes::from_static(b"{}")], None));
}

#[tokio::test]
async fn failures_before_and_after_the_first_byte() {
    for begins in [false, true] {
        let (mut answer, begun) = Answer::streamed(false);
        if begins {
            answer.begin(b"");
            answer.chunk(piece(2)).await.unwrap();
        }
        answer.finish(Ok(outcome("{\"errorType\":\"E\"}", true)));
        let streaming = begun.await.unwrap().unwrap();
        let (chunks, end) = all(streaming.stream).await;
        assert_eq!(chunks.len(), usize::from(begins));
        assert_eq!(end.error, Some(Bytes::from_static(b"{\"errorType\":\"E\"}")));
    }
    let (answer, begun) = Answer::streamed(false);
    answer.finish(Err(Error::Draining));
    assert!(matches!(begun.await.unwrap(), Err(Error::Draining)));
    let (mut answer, begun) = Answer::streamed(false);
    answer.begin(b"");
    drop(answer);
    let (_, end) = all(begun.await.unwrap().unwrap().stream).await;
    assert!(end.error.is_some(), "a task that was ended is no success");
}

#[tokio::test]
async fn types_that_cannot_be_headers_are_octets() {
    for bad in [&b""[..], b" ", b"\xFF", b"a\nb", "ü".as_bytes()] {
        let (mut answer, begun) = Answer::streamed(false);
        answer.begin(bad);
        assert_eq!(begun.await.unwrap().unwrap().content_type, "application/octet-stream");
    }
}

#[tokio::test]
async fn a_slow_reader_is_waited_for_and_one_that_left_is_not() {
    let (mut answer, begun) = Answer::streamed(false);
    answer.begin(b"");
    let mut streaming = begun.await.unwrap().unwrap();
    for _ in 0..STREAM_CHUNKS_WAITING_MAX {
        answer.chunk(piece(1)).await.unwrap();
    }
    {
        let mut waiting = std::pin::pin!(answer.chunk(piece(1)));
        let polled = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "the channel is full");
        assert!(streaming.stream.next().await.is_some());
        waiting.await.unwrap();
    }
    drop(streaming);
    for _ in 0..=STREAM_CHUNKS_WAITING_MAX {
        answer.chunk(piece(1)).await.unwrap();
    }
}

#[tokio::test]
async fn sizes_have_an_end() {
    let (mut answer, begun) = Answer::streamed(false);
    answer.begin(b"");
    drop(begun);
    let part = piece(1024 * 1024);
    for _ in 0..200 {
        answer.chunk(part.clone()).await.unwrap();
    }
    assert_eq!(answer.chunk(piece(1)).await, Err(TooLarge));

    let mut answer = Answer::whole();
    for _ in 0..6 {
        answer.chunk(part.clone()).await.unwrap();
    }
    answer.chunk(piece(100)).await.unwrap();
    let Answer::Whole(gathered) = &answer else { panic!("it is whole") };
    assert_eq!(gathered.bytes.len(), RESPONSE_BYTES_MAX);
    answer.chunk(piece(1)).await.unwrap();
    assert_eq!(answer.gathered(), Err(TooLarge));
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_a_burst_and_then_a_rate() {
    let mut pace = Pace::new();
    let begun = Instant::now();
    let second = STREAM_BYTES_PER_SECOND as usize;
    pace.wait(STREAM_BURST_BYTES as usize).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    pace.wait(second).await;
    assert_eq!(begun.elapsed().as_millis(), 1000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    pace.wait(STREAM_BURST_BYTES as usize).await;
    assert_eq!(begun.elapsed().as_millis(), 61_000);
    pace.wait(second / 2).await;
    assert_eq!(begun.elapsed().as_millis(), 61_500);
}

#[tokio::test(start_paused = true)]
async fn the_setting_holds_streams_back() {
    for (limited, seconds) in [(false, 0), (true, 1)] {
        let (mut answer, begun) = Answer::streamed(limited);
        answer.begin(b"");
        let mut streaming = begun.await.unwrap().unwrap();
        let time = Instant::now();
        for _ in 0..8 {
            answer.chunk(piece(1024 * 1024)).await.unwrap();
            assert!(streaming.stream.next().await.is_some());
        }
        assert_eq!(time.elapsed().as_secs(), seconds, "8 MB are the burst and one second");
    }
}
