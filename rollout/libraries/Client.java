/* Java's java.net.http. Without TLS it speaks HTTP/2 only with servers that upgrade to it, so HTTP/1.1 is asked for. */

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

class Client implements Runnable {
    private static final CountDownLatch STOP = new CountDownLatch(1);

    public static void main(String[] arguments) throws IOException {
        for (int n = 0; n < Integer.parseInt(System.getenv("ROLLOUT_CLIENTS")); n++) {
            new Thread(new Client()).start();
        }
        System.in.readAllBytes();
        STOP.countDown();
    }

    @Override
    public void run() {
        String[] pause = System.getenv("ROLLOUT_PAUSE_MS").split(" ");
        int min = Integer.parseInt(pause[0]), max = Integer.parseInt(pause[1]);
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpRequest request = request();
        try {
            while (!STOP.await(ThreadLocalRandom.current().nextInt(min, max + 1), TimeUnit.MILLISECONDS)) {
                long began = System.nanoTime();
                String line;
                try {
                    int status = client.send(request, BodyHandlers.discarding()).statusCode();
                    line = "%03d %.6f".formatted(status, (System.nanoTime() - began) / 1e9);
                } catch (IOException error) {
                    line = "000 %.6f %s".formatted((System.nanoTime() - began) / 1e9, error).replace('\n', ' ');
                }
                System.out.println(line);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static HttpRequest request() {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(System.getenv("ROLLOUT_URL")))
            .timeout(Duration.ofMillis(Long.parseLong(System.getenv("ROLLOUT_TIMEOUT_MS"))))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(System.getenv("ROLLOUT_BODY")));
        for (String header : System.getenv("ROLLOUT_HEADERS").lines().toList()) {
            String[] parts = header.split(": ", 2);
            request.header(parts[0], parts[1]);
        }
        return request.build();
    }
}
