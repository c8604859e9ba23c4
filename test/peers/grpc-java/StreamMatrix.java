import static io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING;
import static io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING;
import static io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING;
import static io.grpc.MethodDescriptor.MethodType.UNARY;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.gson.Gson;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;

/** The cells of the stream matrix (test/support/stream-cells.ts) by grpc-java: messages are text, nothing is generated. */
public final class StreamMatrix {
  record Cell(String method, String kind, String[] sent, int pauseMs, int deadlineMs) {}

  record Ended(int code, String text, List<String> messages) {}

  private static final Map<String, MethodDescriptor.MethodType> KINDS =
      Map.of("unary", UNARY, "server", SERVER_STREAMING, "client", CLIENT_STREAMING, "bidi", BIDI_STREAMING);

  /** Messages with one field of text, number 1. */
  private static final MethodDescriptor.Marshaller<String> TEXT = new MethodDescriptor.Marshaller<>() {
    @Override
    public InputStream stream(String text) {
      byte[] bytes = text.getBytes(UTF_8);
      byte[] message = new byte[2 + bytes.length];
      message[0] = 0x0a;
      message[1] = (byte) bytes.length;
      System.arraycopy(bytes, 0, message, 2, bytes.length);
      return new ByteArrayInputStream(message);
    }

    @Override
    public String parse(InputStream message) {
      try {
        byte[] bytes = message.readAllBytes();
        return new String(bytes, 2, bytes.length - 2, UTF_8);
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  };

  private static Ended call(ManagedChannel channel, Cell cell) throws Exception {
    var method = MethodDescriptor.<String, String>newBuilder()
        .setType(KINDS.get(cell.kind()))
        .setFullMethodName("streams.v1.Streams/" + cell.method())
        .setRequestMarshaller(TEXT)
        .setResponseMarshaller(TEXT)
        .build();
    var deadline = CallOptions.DEFAULT.withDeadlineAfter(cell.deadlineMs(), MILLISECONDS);
    ClientCall<String, String> call = channel.newCall(method, deadline);
    var messages = new CopyOnWriteArrayList<String>();
    var status = new CompletableFuture<Status>();
    var answers = new StreamObserver<String>() {
      @Override
      public void onNext(String message) {
        messages.add(message);
      }

      @Override
      public void onError(Throwable error) {
        status.complete(Status.fromThrowable(error));
      }

      @Override
      public void onCompleted() {
        status.complete(Status.OK);
      }
    };
    if (method.getType().clientSendsOneMessage()) {
      Thread.sleep(cell.pauseMs());
      if (method.getType() == UNARY) ClientCalls.asyncUnaryCall(call, cell.sent()[0], answers);
      else ClientCalls.asyncServerStreamingCall(call, cell.sent()[0], answers);
    } else {
      StreamObserver<String> requests = method.getType() == CLIENT_STREAMING
          ? ClientCalls.asyncClientStreamingCall(call, answers)
          : ClientCalls.asyncBidiStreamingCall(call, answers);
      for (String text : cell.sent()) {
        Thread.sleep(cell.pauseMs());
        requests.onNext(text);
      }
      requests.onCompleted();
    }
    Status said = status.get();
    return new Ended(said.getCode().value(), said.isOk() ? null : said.getDescription(), messages);
  }

  public static void main(String[] words) throws Exception {
    ChannelCredentials trusted = words.length > 1
        ? TlsChannelCredentials.newBuilder().trustManager(new File(words[1])).build()
        : InsecureChannelCredentials.create();
    ManagedChannel channel = Grpc.newChannelBuilder(words[0], trusted).build();
    var json = new Gson();
    for (Cell cell : json.fromJson(new InputStreamReader(System.in, UTF_8), Cell[].class)) {
      System.out.write((json.toJson(call(channel, cell)) + "\n").getBytes(UTF_8));
      System.out.flush();
    }
    channel.shutdownNow().awaitTermination(10, SECONDS);
  }
}
