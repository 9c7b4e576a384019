// A handler that has made clients of AWS's SDK.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";

const configuration = { region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "s" } };
const clients = [new DynamoDBClient(configuration), new S3Client(configuration)];

export const handler = async () => ({ clients: clients.length });
