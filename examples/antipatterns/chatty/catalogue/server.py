"""The catalogue over gRPC."""

from concurrent import futures

import catalogue_pb2
import catalogue_pb2_grpc
import grpc

PRODUCTS = {"LAMP-1": ("Storm lantern", 3950), "BELL-2": ("Brass bell", 5400), "MUG-3": ("Enamel mug", 990)}


class Catalogue(catalogue_pb2_grpc.CatalogueServicer):
    def GetProduct(self, request, context):
        if request.sku not in PRODUCTS:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such product")
        name, amount = PRODUCTS[request.sku]
        return catalogue_pb2.Product(sku=request.sku, name=name, amount=amount)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    catalogue_pb2_grpc.add_CatalogueServicer_to_server(Catalogue(), server)
    server.add_insecure_port("[::]:50051")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve()
