import java.io.File;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Scanner;

/** Says what a parked machine makes of its working directory, and lets the intruder in. */
public class App {
    public Map<String, Object> handler(Map<String, Object> event) throws Exception {
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("property", System.getProperty("user.dir"));
        seen.put("file", new File("").getAbsolutePath());
        seen.put("path", Paths.get("").toAbsolutePath().toString());
        seen.put("real", Paths.get("").toRealPath().toString());
        seen.put("opens", new File("App.class").isFile() && Files.exists(Paths.get("App.class")));
        seen.put("resource", App.class.getResource("/App.class").toString());
        seen.put("variable", System.getenv("COLOUR"));
        Process python = new ProcessBuilder("/usr/bin/python3", "-I", "-S", "/var/task/intruder.py")
                .redirectErrorStream(true).start();
        try (InputStream said = python.getInputStream()) {
            seen.put("intruder", new Scanner(said, "UTF-8").useDelimiter("\\A").next());
        }
        return seen;
    }
}
