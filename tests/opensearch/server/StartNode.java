import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

import org.opensearch.common.settings.Settings;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.knn.plugin.KNNPlugin;
import org.opensearch.neuralsearch.plugin.NeuralSearch;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node in this process, on the loopback interface, until the process that started it is gone.
 *
 * Arguments: its data folder, then settings as key=value. Prints "ready" when the cluster has NODES nodes and is green.
 */
public class StartNode extends Node {
    private static final List<Class<? extends Plugin>> PLUGINS = List.of(
        Netty4Plugin.class,
        MapperExtrasPlugin.class,
        PainlessPlugin.class,
        KNNPlugin.class,
        NeuralSearch.class
    );

    private StartNode(Settings settings) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "node"), PLUGINS, false);
    }

    public static void main(String[] arguments) throws Exception {
        ProcessHandle.current().parent().ifPresent(parent -> parent.onExit().thenRun(() -> Runtime.getRuntime().halt(1)));
        Settings.Builder settings = Settings.builder()
            .put("path.home", Path.of(arguments[0]).toAbsolutePath().toString())
            .put("cluster.name", "ellzero-tests")
            .put("network.host", "127.0.0.1")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (int index = 1; index < arguments.length; index++) {
            String[] pair = arguments[index].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        String port = settings.get("http.port");
        int nodes = settings.get("cluster.initial_cluster_manager_nodes").split(",").length;
        StartNode node = new StartNode(settings.build());
        node.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        waitForGreen(port, nodes);
        System.out.println("ready");
        new CountDownLatch(1).await(); // all threads of a node are daemons
    }

    private static void waitForGreen(String port, int nodes) throws IOException, InterruptedException {
        URI health = URI.create(
            "http://127.0.0.1:" + port + "/_cluster/health?wait_for_status=green&timeout=60s&wait_for_nodes=" + nodes
        );
        HttpRequest request = HttpRequest.newBuilder(health).timeout(Duration.ofSeconds(90)).build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            System.err.println("the cluster is not green: " + answer.body());
            System.exit(1);
        }
    }

    private static void close(StartNode node) {
        try {
            node.close();
        } catch (IOException error) {
            System.err.println(error);
        }
    }
}
