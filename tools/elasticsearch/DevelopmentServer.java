import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * One Elasticsearch node from the jars on the class path, until it is told to end, or its input ends when a second
 * argument says so. First argument: its home directory.
 */
public final class DevelopmentServer {
    private DevelopmentServer() {}

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Path config = home.resolve("config");
        Settings settings = Settings.builder()
            .loadFromPath(config.resolve("elasticsearch.yml"))
            .put("path.home", home.toString())
            .build();
        Environment environment = new Environment(settings, config);
        LogConfigurator.configureESLogging();
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment, true);
        var modules = PluginsLoader.loadModulesBundles(environment.modulesDir());
        Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false));
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.prepareForClose();
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            } finally {
                ended.countDown();
            }
        }));
        if (arguments.length > 1 && arguments[1].equals("--until-input-ends")) {
            Thread watch = new Thread(DevelopmentServer::exitWhenInputEnds);
            watch.setDaemon(true);
            watch.start();
        }
        node.start();
        ended.await();
    }

    /** Whoever started the server holds the other end, and lets go of it however it ends. */
    private static void exitWhenInputEnds() {
        try {
            while (System.in.read() >= 0) {
            }
        } catch (java.io.IOException error) {
            error.printStackTrace();
        }
        System.exit(0);
    }
}
