package subject;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.APIGatewayV2HTTPEvent;
import com.amazonaws.services.lambda.runtime.events.APIGatewayV2HTTPResponse;
import com.amazonaws.services.lambda.runtime.events.SQSEvent;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;

/** Handlers of the types of AWS's library of events. */
public class Events implements RequestHandler<APIGatewayV2HTTPEvent, APIGatewayV2HTTPResponse> {
    @Override
    public APIGatewayV2HTTPResponse handleRequest(APIGatewayV2HTTPEvent event, Context context) {
        return APIGatewayV2HTTPResponse.builder()
                .withStatusCode(201)
                .withHeaders(Collections.singletonMap("x-method", event.getRequestContext().getHttp().getMethod()))
                .withBody(event.getRawPath() + "?" + event.getQueryStringParameters().get("q"))
                .build();
    }

    public List<String> queue(SQSEvent event) {
        return event.getRecords().stream()
                .map(record -> record.getMessageId() + " " + record.getBody() + " " + record.getEventSourceArn())
                .collect(Collectors.toList());
    }
}
