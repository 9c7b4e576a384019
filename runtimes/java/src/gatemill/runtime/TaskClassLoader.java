package gatemill.runtime;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The function's classes: its folder, the jars in its {@code lib}, then those of its layers, each
 * folder's in the order of their names. The runtime's own loader is the parent and is asked first,
 * as on AWS.
 */
final class TaskClassLoader extends URLClassLoader {
    static {
        ClassLoader.registerAsParallelCapable();
    }

    TaskClassLoader(String root, String layers) {
        super(urls(root, layers), ClassLoader.getSystemClassLoader());
    }

    private static URL[] urls(String root, String layers) {
        List<URL> all = new ArrayList<>();
        add(all, new File(root, "/"));
        addJars(all, new File(root, "lib"));
        addJars(all, new File(layers));
        return all.toArray(new URL[0]);
    }

    private static void addJars(List<URL> all, File folder) {
        String[] names = folder.list((where, name) -> name.endsWith(".jar"));
        if (names == null) {
            return;
        }
        Arrays.sort(names);
        for (String name : names) {
            add(all, new File(folder, name));
        }
    }

    private static void add(List<URL> all, File file) {
        try {
            all.add(file.toURI().toURL());
        } catch (MalformedURLException error) {
            throw new IllegalArgumentException(file.toString(), error);
        }
    }
}
