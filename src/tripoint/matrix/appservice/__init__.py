"""Application services (bridges, bots): who speaks as whom, what they are told, what they are asked.

spec: Matrix application-service-api. Registrations are core/app_services.py.
"""
